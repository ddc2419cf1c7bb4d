"""Commands in which text stays text, and an option may be written with `_` or `-`."""

import re
from collections.abc import Container, Iterable
from itertools import islice
from typing import Final

import click

_LOOKS_LIKE_AN_OPTION: Final = re.compile(r"--?[a-zA-Z][\w-]*(=.*)?", re.DOTALL)


class TextCommand(click.Command):
    """A command whose arguments may begin with a dash, as long as they do not look like an option.

    `-5 + 3 = ?` and `--- title` are text; `--temprature` is a mistake and is reported as one.
    After `--` everything is text.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse `args`; click takes `--in-ctx` for `--in_ctx`, and leaves values alone."""
        ctx.token_normalize_func = _with_hyphens
        taking = {
            _with_hyphens(name)
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        return super().parse_args(ctx, _options_first(args, taking))


def _with_hyphens(name: str) -> str:
    return name.replace("_", "-")


def _options_first(args: Iterable[str], taking: Container[str]) -> list[str]:
    """Return `args` as options, `--`, text; `taking` are the options that take a value.

    Behind a `--`, click does not look for options.
    """
    options: list[str] = []
    text: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            text += words
        elif not _LOOKS_LIKE_AN_OPTION.fullmatch(word):
            text.append(word)
        elif _with_hyphens(word) not in taking:
            options.append(word)
        elif value := list(islice(words, 1)):
            options += [word, *value]
        else:
            # Its value is missing: at the very end click sees that, and does not take the `--`.
            return [*options, word]
    return [*options, "--", *text] if text else options
