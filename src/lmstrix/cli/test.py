"""`lmstrix test`."""

from collections.abc import Mapping
from typing import Any

import click

from lmstrix.cli.batch import Batch
from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option, memory_option, reading, timeout_option
from lmstrix.cli.output import emit_json, note
from lmstrix.cli.progress import TestProgress
from lmstrix.cli.reports import show_depths, show_forecast, show_reports, show_speed_limit
from lmstrix.cli.session import Session
from lmstrix.engine.catalogue import Query, SortKey, parse_sort
from lmstrix.errors import RequestError
from lmstrix.sizes import parse_tokens
from lmstrix.values import Proof, ReportList, Status, TestReport


def some_tokens(text: str) -> int:
    """Return the tokens that `text` says.

    Raises:
        RequestError: It is not a number of tokens above zero.
    """
    if count := parse_tokens(text):
        return count
    raise RequestError("0 tokens cannot be tested", hint="write it like `8192` or `8k`")


@click.command("test", cls=TextCommand)
@click.argument("model", required=False)
@click.option("--all", "everything", is_flag=True, help="Test all models, the smallest first.")
@click.option("--filter", "words", metavar="TEXT", help="With `--all`: models with this in them.")
@click.option(
    "--sort",
    metavar="id|ctx|declared|size|tps|ttft",
    callback=reading(parse_sort),
    help="With `--all`: order of the table, not of the tests; with `d` behind, reversed.",
)
@click.option(
    "--ctx",
    "context",
    metavar="N",
    callback=reading(some_tokens),
    help="One probe at this context, e.g. `8k`, instead of a search.",
)
@click.option(
    "--threshold",
    metavar="N",
    default="102400",
    show_default=True,
    callback=reading(some_tokens),
    help="Probe nothing larger before a measured line, or a pass that large, says it is safe.",
)
@click.option(
    "--proof",
    type=click.Choice([proof.value for proof in Proof]),
    default=Proof.FILL.value,
    show_default=True,
    help="What a context must do to pass: load, answer a question, answer it when filled, or have "
    "facts recalled from every depth.",
)
@click.option(
    "--strategy",
    metavar="NAME",
    default="certify",
    show_default=True,
    help="How the next context is chosen: `certify`, `exact`, `bisect`, `climb`, or an installed "
    "one.",
)
@click.option(
    "--granularity",
    metavar="N",
    default="1024",
    show_default=True,
    callback=reading(some_tokens),
    help="Precision of the search, in tokens.",
)
@click.option("--kv-type", metavar="TYPE", help="Type of the KV cache, e.g. `q8_0`.")
@click.option("--prompt", metavar="TEXT", default="", help="Your own question; with `--expect`.")
@click.option("--expect", metavar="TEXT", default="", help="What the answer to it must contain.")
@click.option(
    "--document",
    type=click.Choice(["prose", "code", "technical"]),
    default="prose",
    show_default=True,
    help="What a window is filled with.",
)
@click.option(
    "--min-tps",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Also say how deep a window generates this many tokens a second.",
)
@memory_option
@timeout_option
@click.option("--force", is_flag=True, help="Also probe where an earlier probe was interrupted.")
@click.option("--reset", is_flag=True, help="Test afresh what was tested, or begun, before.")
@click.option("--dry-run", is_flag=True, help="Only say what it will take; nothing is loaded.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - click hands over every option
    session: Session,
    /,
    *,
    model: str | None,
    everything: bool,
    words: str | None,
    sort: tuple[SortKey, bool] | None,
    dry_run: bool,
    context: int | None,
    **how: Any,
) -> None:
    """Find the largest context that MODEL really holds.

    MODEL is any unique part of a model's key; with `--all`, all models are tested, the smallest
    first. Every probe is recorded: Ctrl-C loses nothing, and the same command goes on where it was.
    Exits with 1 if no context works.

    Example: lmstrix test gemma --threshold 32k
    """
    how["context"] = context or 0
    if everything:
        key, descending = sort or ("id", False)
        query = Query(query=words or "", sort=key, descending=descending)
        batch = Batch(session=session, query=query, is_sorted=sort is not None, how=how)
        code = _all(batch, model, dry_run=dry_run)
    else:
        code = _one(session, _named(model, words=words, sort=sort), how, dry_run=dry_run)
    click.get_current_context().exit(code)


def _all(batch: Batch, model: str | None, *, dry_run: bool) -> int:
    if model is not None:
        raise RequestError(
            f"`{model}` and `--all` exclude each other",
            hint=f"`lmstrix test --all --filter {model}` tests all models with this in them",
        )
    return batch.forecast() if dry_run else batch.run()


def _named(model: str | None, **only_with_all: Any) -> str:
    if model is None:
        raise RequestError(
            "no model is named",
            hint="`lmstrix test --all` tests all that `lmstrix list` shows",
        )
    if any(value is not None for value in only_with_all.values()):
        raise RequestError(
            "`--filter` and `--sort` are for many models",
            hint="`lmstrix test --all --filter TEXT` tests all models with TEXT in them",
        )
    return model


def _one(session: Session, model: str, how: Mapping[str, Any], *, dry_run: bool) -> int:
    """Test one model or forecast that, print what came of it, and return the exit code."""
    if dry_run:
        report = session.strix.test_context(model, dry_run=True, **how)
    else:
        with TestProgress(session) as progress:
            report = session.strix.test_context(model, on_event=progress, **how)
        note(f"stopped: {report.stopped_because}")
    if session.as_json:
        emit_json(ReportList(reports=(report,)))
    elif dry_run:
        show_forecast(report)
    else:
        _show(report, how["min_tps"])
    return 1 if report.status is Status.FAILED else 0


def _show(report: TestReport, min_tps: float | None) -> None:
    show_reports([report])
    show_depths(report)
    if min_tps is not None:
        show_speed_limit(report, min_tps)
