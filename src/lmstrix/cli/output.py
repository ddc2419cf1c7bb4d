"""What goes to stdout: one JSON document, or tables that fit where they are read.

A terminal gets rules and colour; a pipe gets the same columns and nothing else. Where a terminal
is too narrow for a table, each row becomes a few lines: a number is never cut.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import click
from pydantic_core import to_json
from rich.box import SIMPLE_HEAD, Box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

UNKNOWN: Final = "-"
_ROOMY: Final = 100_000
"""Columns of a pipe: wide enough that no line is ever folded."""
_READABLE: Final = 16
"""A column of text is folded down to this width; below, the table becomes lines."""
_GAP: Final = 3
"""Between two columns of a terminal's table."""


def emit_json(value: Any) -> None:
    """Print `value`, which may hold pydantic values at any depth, as one JSON document."""
    text = to_json(value, indent=2, inf_nan_mode="null").decode()
    if (sys.stdout.encoding or "").lower().replace("-", "") != "utf8":
        text = json.dumps(json.loads(text), indent=2)
    click.echo(text)


def note(text: str) -> None:
    """Say one line on stderr."""
    click.echo(text, err=True)


def show_problems(problems: Iterable[str]) -> None:
    """Say on stderr what a scan passed over, a line each."""
    for problem in problems:
        note(f"passed over: {problem}")


def show_table(
    titles: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    text_columns: Sequence[str] = (),
    first_is_text: bool = True,
) -> None:
    """Print `rows` under `titles`; all columns but `text_columns` are numbers, flush right."""
    filled = [list(row) for row in rows]
    if not filled:
        return
    console = Console(highlight=False)
    texts = {*text_columns, *titles[:first_is_text]}
    columns = [
        _Column(title, cells, is_text=title in texts)
        for title, cells in zip(titles, zip(*filled, strict=True), strict=True)
    ]
    if not console.is_terminal:
        _show_plain(_table(columns, filled, box=None))
    elif sum(column.least + _GAP for column in columns) <= console.width:
        console.print(_table(columns, filled, box=SIMPLE_HEAD))
    else:
        _show_records(console, titles, filled)


def show_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a value, a line each, values below each other."""
    listed = list(facts)
    width = max((cell_len(name) for name, _ in listed), default=0)
    for name, value in listed:
        click.echo(f"{name:<{width}}  {value}")


class _Column:
    """A column that may be folded if it is text, and never if it is numbers."""

    def __init__(self, title: str, cells: Sequence[str], *, is_text: bool) -> None:
        self.title = title
        self.is_text = is_text
        widest = max(cell_len(text) for text in (title, *cells))
        self.least = min(widest, _READABLE) if is_text else widest


def _table(columns: Sequence[_Column], rows: Sequence[Sequence[str]], *, box: Box | None) -> Table:
    table = Table(box=box, pad_edge=False, header_style="bold" if box else "")
    for column in columns:
        table.add_column(
            Text(column.title),
            justify="left" if column.is_text else "right",
            overflow="fold",
            min_width=column.least,
        )
    for row in rows:
        # As `Text`, for a model may be called `[a]`, which rich would take for markup.
        table.add_row(*map(Text, row))
    return table


def _show_plain(table: Table) -> None:
    console = Console(width=_ROOMY, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())


def _show_records(console: Console, titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        console.print(Text(row[0], style="bold"), overflow="fold")
        for title, cell in zip(titles[1:], row[1:], strict=True):
            console.print(Text(f"  {title}: {cell}"), overflow="fold")
