"""Options that several commands share, and how sizes are read."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lmstrix.cli.session import Session
from lmstrix.errors import RequestError
from lmstrix.sizes import parse_bytes

Command = TypeVar("Command", bound=Callable[..., Any])
Value = TypeVar("Value")
Callback = Callable[[click.Context, click.Parameter, str | None], Value | None]


def reading(parse: Callable[[str], Value]) -> Callback[Value]:
    """Return an option's callback that reads its text with `parse`.

    What `parse` raises keeps its hint, which a click type could not give it; the option is named.
    """

    def read(_: click.Context, param: click.Parameter, text: str | None) -> Value | None:
        if text is None:
            return None
        try:
            return parse(text)
        except RequestError as error:
            raise RequestError(f"`{param.opts[0]}`: {error}", hint=error.hint) from error

    return read


def json_option(command: Command) -> Command:
    """Give `command` the option `--json`, which the session remembers."""

    def remember(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        ctx.ensure_object(Session).as_json = value

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        help="Print one JSON document on stdout, and nothing else.",
    )(command)


def memory_option(command: Command) -> Command:
    """Give `command` the option `--memory-budget`."""
    return click.option(
        "--memory-budget",
        metavar="SIZE",
        callback=reading(parse_bytes),
        help="Most memory that the loaded model may take, e.g. `6GiB`; overrides the setting.",
    )(command)


def timeout_option(command: Command) -> Command:
    """Give `command` the option `--timeout`."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0, min_open=True),
        default=600.0,
        show_default=True,
        metavar="SECONDS",
        help="Longest that a load, or a silence while generating, may last.",
    )(command)
