"""`lmstrix demo`: the whole of LMStrix on a small real model, in a minute or two."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from lmstrix.app import LMStrix
from lmstrix.cli.command import TextCommand
from lmstrix.cli.infer import Speaker
from lmstrix.cli.options import json_option, reading
from lmstrix.cli.output import emit_json, note, show_facts
from lmstrix.cli.progress import TestProgress
from lmstrix.cli.session import Session
from lmstrix.cli.views import limit_facts, one_line, tokens
from lmstrix.engine.events import OnEvent
from lmstrix.errors import BackendError
from lmstrix.settings import Settings
from lmstrix.sizes import parse_bytes, show_bytes
from lmstrix.values import Completion, Proof, TestReport, Value

FIRST_CONTEXT: Final = 4_096
HEADROOM: Final = 64 * 2**20
"""Bytes that the demo allows beyond what its model takes at `FIRST_CONTEXT`: some thousand tokens
more, so that the budget binds, and the window is filled within a minute or two."""
DEMO_PROMPT: Final = "The capital of France is"
_ANSWER_TOKENS: Final = 24
_STEPS: Final = {
    Proof.LOAD: "loading",
    Proof.ANSWER: "answering within",
    Proof.FILL: "filling",
    Proof.RECALL: "recalling from",
}


class DemoResult(Value):
    """What the demo found, and what the model said; null where no context works."""

    report: TestReport
    completion: Completion | None


@click.command("demo", cls=TextCommand)
@click.option(
    "--memory-budget",
    metavar="SIZE",
    default=None,
    callback=reading(parse_bytes),
    help="Most memory that the model may take; by default a little more than it takes at first.",
)
@json_option
@click.pass_obj
def command(session: Session, /, *, memory_budget: int | None) -> None:
    """Find the true limit of a small real model, then ask it.

    Assembles gemma-3-270m from the package that comes with `lmstrix[demo]`, searches for the
    largest context that it holds in a little memory, and has it go on with a sentence there.

    Example: lmstrix demo --memory-budget 600MiB
    """
    # The adapter is not needed before its model is.
    from lmstrix.backends.llamacpp.packaged import assemble_demo_model  # noqa: PLC0415

    strix = session.open(on_llamacpp)
    result = play(session, strix, assemble_demo_model(folder(strix.settings)), memory_budget)
    if session.as_json:
        emit_json(result)
    if result.completion is None:
        click.get_current_context().exit(1)


def folder(settings: Settings) -> Path:
    """Return where the demo's model is assembled."""
    return settings.home / "models"


def on_llamacpp(settings: Settings) -> Settings:
    """Return `settings` with llama.cpp as the runtime, and the demo's folder among its folders."""
    folders = dict.fromkeys((*settings.models_dirs, folder(settings)))
    return replace(settings, backend="llamacpp", models_dirs=tuple(folders))


def play(session: Session, strix: LMStrix, file: Path, budget_bytes: int | None) -> DemoResult:
    """Test the model in `file` under a memory budget, and let it speak at the limit found.

    Unless JSON was asked for, what is found is printed as it is found.
    """
    models = strix.scan().models
    key = next((model.key for model in models if model.path == str(file)), file.stem)
    with TestProgress(session) as progress:
        budget = budget_bytes or _binding_budget(strix, key, progress)
        report = strix.test_context(
            key, proof=Proof.FILL, strategy="certify", memory_budget=budget, on_event=progress
        )
    if not session.as_json:
        _show_findings(report)
    completion = _speak(strix, report, budget) if report.limits.usable else None
    if completion is not None and not session.as_json:
        click.echo(f"\n{DEMO_PROMPT}{completion.text}")
    return DemoResult(report=report, completion=completion)


def _binding_budget(strix: LMStrix, key: str, on_event: OnEvent) -> int:
    """Return a budget in which the model loads, but not with the context it declares.

    What a model takes beside its context differs from machine to machine, so it is measured.
    """
    report = strix.test_context(key, context=FIRST_CONTEXT, proof=Proof.LOAD, on_event=on_event)
    [probe] = report.probes
    if probe.memory_bytes is None:
        raise BackendError(
            f"`{key}` did not load at {FIRST_CONTEXT} tokens: {probe.detail or probe.outcome}",
            hint="`lmstrix doctor` shows what memory there is",
        )
    note(f"memory budget: {show_bytes(probe.memory_bytes + HEADROOM)}, to make it bind")
    return probe.memory_bytes + HEADROOM


def _show_findings(report: TestReport) -> None:
    show_facts(
        [
            ("model", report.model),
            *limit_facts(report.limits),
            ("stopped because", report.stopped_because),
            *_failure(report),
        ]
    )


def _failure(report: TestReport) -> Sequence[tuple[str, str]]:
    """Return at which context and step the search failed first, and the engine's own words."""
    failed = [probe for probe in report.probes if probe.outcome and probe.outcome.refutes]
    smallest = min(failed, key=lambda probe: probe.requested, default=None)
    if smallest is None:
        return []
    step = "loading" if smallest.effective is None else _STEPS[smallest.proof]
    return [
        ("what failed", f"{step} {tokens(smallest.requested)} tokens: {smallest.outcome}"),
        ("the engine said", one_line(smallest.detail)),
    ]


def _speak(strix: LMStrix, report: TestReport, budget_bytes: int) -> Completion:
    return strix.infer(
        report.model,
        DEMO_PROMPT,
        in_ctx=report.limits.usable,
        out_ctx=_ANSWER_TOKENS,
        temperature=0.0,
        raw=True,
        budget_bytes=budget_bytes,
        on_event=Speaker(stream=False),
    )
