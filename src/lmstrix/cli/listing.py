"""`lmstrix list`."""

from typing import Literal

import click

from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option, reading
from lmstrix.cli.output import emit_json, note
from lmstrix.cli.session import Session
from lmstrix.cli.views import show_models
from lmstrix.engine.catalogue import Query, SortKey, parse_sort
from lmstrix.values import ModelList, Status


@click.command("list", cls=TextCommand)
@click.option(
    "--sort",
    default="id",
    metavar="id|ctx|declared|size|tps|ttft",
    callback=reading(parse_sort),
    help="Order of the models; with `d` behind, as in `ctxd`, the other way round.",
)
@click.option("--desc", is_flag=True, help="Reverse the order.")
@click.option(
    "--show",
    type=click.Choice(["table", "id", "path", "json"]),
    default="table",
    show_default=True,
    help="What to print; `json` is the bare array of models.",
)
@click.option(
    "--filter", "words", default="", metavar="TEXT", help="Only models with this in them."
)
@click.option("--tested/--untested", default=None, help="Only models with, or without, a limit.")
@click.option("--loaded", is_flag=True, help="Only models that are loaded now.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - click hands over every option
    session: Session,
    /,
    *,
    sort: tuple[SortKey, bool],
    desc: bool,
    show: Literal["table", "id", "path", "json"],
    words: str,
    tested: bool | None,
    loaded: bool,
) -> None:
    """Show the models that are known, and what they hold.

    Example: lmstrix list --tested --sort ctxd
    """
    if loaded:
        session.strix.loaded()  # opens the runtime; without it, nothing is known to be loaded
    key, descending = sort
    query = Query(
        query=words,
        tested="any" if tested is None else "yes" if tested else "no",
        loaded_only=loaded,
        sort=key,
        descending=descending or desc,
    )
    found = session.strix.list_models(query=query)
    if session.as_json:
        emit_json(found)
    else:
        _show(found, show)


def _show(found: ModelList, show: Literal["table", "id", "path", "json"]) -> None:
    match show:
        case "table":
            show_models(found.models)
            if any(model.status is Status.STALE for model in found.models):
                note("stale: measured with another runtime, configuration, machine or budget")
            if not found.models:
                note("no model matches; `lmstrix doctor` shows where models are looked for")
        case "json":
            emit_json(found.models)
        case "id":
            for model in found.models:
                click.echo(model.key)
        case "path":
            for model in found.models:
                if model.path is not None:
                    click.echo(model.path)
