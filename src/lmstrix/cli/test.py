"""`lmstrix test`."""

from typing import Any

import click

from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option, memory_option, reading, timeout_option
from lmstrix.cli.output import emit_json, note
from lmstrix.cli.progress import TestProgress
from lmstrix.cli.session import Session
from lmstrix.cli.views import show_reports
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
@click.argument("model")
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
    help="Probe nothing larger before a context that large has passed.",
)
@click.option(
    "--proof",
    type=click.Choice(["load", "answer", "fill"]),
    default="fill",
    show_default=True,
    help="What a context must do to pass: load, answer a question, or answer it when full.",
)
@click.option(
    "--strategy",
    metavar="NAME",
    default="bisect",
    show_default=True,
    help="How the next context is chosen: `bisect`, `certify`, `exact` or `climb`.",
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
@memory_option
@timeout_option
@click.option("--force", is_flag=True, help="Also probe where an earlier probe was interrupted.")
@json_option
@click.pass_obj
def command(
    session: Session, /, *, model: str, context: int | None, proof: str, **how: Any
) -> None:
    """Find the largest context that MODEL really holds.

    MODEL is any unique part of a model's key. Every probe is recorded, so a test that is stopped
    loses nothing. Exits with 1 if no context works.

    Example: lmstrix test gemma --threshold 32k
    """
    with TestProgress(session) as progress:
        report = session.strix.test_context(
            model, context=context or 0, proof=Proof(proof), on_event=progress, **how
        )
    show_report(session, report)
    if report.status is Status.FAILED:
        click.get_current_context().exit(1)


def show_report(session: Session, report: TestReport) -> None:
    """Print `report` in the form asked for."""
    note(f"stopped: {report.stopped_because}")
    if session.as_json:
        emit_json(ReportList(reports=(report,)))
    else:
        show_reports([report])
