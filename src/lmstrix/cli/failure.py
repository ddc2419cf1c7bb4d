"""How a run that failed says so: on stderr for people, on stdout as JSON, and by its exit code."""

import json
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

import click

from lmstrix.errors import LMStrixError

_IO_ERROR: Final = 74  # EX_IOERR of sysexits.h, which Windows does not have
_QUOTED: Final = re.compile(r"(?<!\w)'([^'\s]*)'(?!\w)")


class Terminated(KeyboardInterrupt):
    """SIGTERM, which unwinds the run like Ctrl-C does."""


class UnknownCommandError(click.UsageError):
    """There is no such command. `possibilities` come near, as in click's `NoSuchOption`."""

    def __init__(self, name: str, known: Iterable[str], ctx: click.Context) -> None:
        super().__init__(f"no such command `{name}`", ctx)
        self.possibilities = get_close_matches(name, list(known))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a run ended early."""

    code: str
    message: str
    hint: str | None
    exit_code: int
    word: str = "error"

    @classmethod
    def of(cls, error: LMStrixError) -> "Failure":
        """Return what a user is told of `error`."""
        return cls(code=error.code, message=str(error), hint=error.hint, exit_code=error.exit_code)

    @classmethod
    def of_usage(cls, error: click.UsageError) -> "Failure":
        """Return what a user is told of a command line that click could not parse."""
        path = error.ctx.command_path if error.ctx else "lmstrix"
        hint = f"`{path} --help` shows how it is used"
        message = error.format_message()
        if isinstance(error, click.NoSuchOption | UnknownCommandError):
            message = error.message
            if error.possibilities:
                hint = "did you mean " + " or ".join(f"`{p}`" for p in error.possibilities) + "?"
        return cls(
            code="usage", message=_house_style(message), hint=hint, exit_code=error.exit_code
        )

    @classmethod
    def of_interrupt(cls, stop: KeyboardInterrupt, kept: str) -> "Failure":
        """Return what a user who stopped the run is told; `kept` says what remains."""
        code = 143 if isinstance(stop, Terminated) else 130
        return cls(code="interrupted", message=kept, hint=None, exit_code=code, word="interrupted")

    @classmethod
    def of_output(cls, error: OSError) -> "Failure":
        """Return what a user is told whose standard output cannot be written."""
        return cls(
            code="output",
            message=f"the output cannot be written: {error.strerror}",
            hint=None,
            exit_code=_IO_ERROR,
        )

    def show(self, *, as_json: bool) -> None:
        """Tell the user, in the form asked for."""
        if as_json:
            told = {"code": self.code, "message": self.message, "hint": self.hint}
            click.echo(json.dumps({"error": told}, indent=2))
            return
        _say(self.word, "red", self.message)
        if self.hint:
            click.echo(err=True)
            _say("hint", "cyan", self.hint)


def _say(word: str, colour: str, text: str) -> None:
    plain = "NO_COLOR" in os.environ or not sys.stderr.isatty()
    click.echo(f"{word if plain else click.style(word, fg=colour)}: {text}", err=True)


def _house_style(message: str) -> str:
    """Return click's `message` in lower case, without a full stop, literals in backticks."""
    text = _QUOTED.sub(r"`\1`", message).rstrip(".")
    return text[:1].lower() + text[1:]
