"""What a job's view makes of the engine's events."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lmstrix.server.views import LONGEST, JobKind, JobView, ModelSummary
from lmstrix.values import (
    Event,
    Fingerprint,
    Forecast,
    Limits,
    LoadedModel,
    Model,
    Outcome,
    Probe,
    Proof,
    RecallScore,
    ReportList,
    Stair,
    Status,
    TestReport,
)

FORECAST = Forecast(probes=7, prefill_tokens=32_768, seconds=None, memory_bytes=None)


NOW = datetime(2026, 11, 22, 22, 0, 0, 123_456, tzinfo=UTC)
FINGERPRINT = Fingerprint(
    model="gemma-3-270m:253115648:3f2a9c1b77de01aa",
    runtime="llamacpp 2026.10.11549",
    machine="Linux x86_64, AMD EPYC 7B13, 2 cores, 31.3 GiB, no accelerator",
    budget_bytes=6 << 30,
)
FOUND = RecallScore(asked=8, found=8, positions=(0.01, 0.15, 0.29, 0.43, 0.57, 0.71, 0.85, 0.99))
STAIRS = tuple(
    Stair(
        depth=1_024 << n,
        prefilled=512 << n,
        ttft_s=1.234567,
        prefill_tps=1_023.456789,
        decode_tps=48.123456,
        memory_bytes=1_234_567_890,
        recall=FOUND,
    )
    for n in range(9)
)


def probe(number: int, *, filled: bool, outcome: Outcome = Outcome.PASSED) -> Probe:
    """Return a probe with all that one can tell, and nine stairs if it was filled."""
    return Probe(
        id=number,
        model="gemma-3-270m",
        requested=4_096 * number,
        effective=4_096 * number,
        proof=Proof.RECALL if filled else Proof.ANSWER,
        outcome=outcome,
        prompt_tokens=312,
        load_s=2.345678,
        ttft_s=0.123456,
        prefill_tps=1_023.456789,
        decode_tps=48.123456,
        memory_bytes=1_234_567_890,
        recall=FOUND if filled else None,
        stairs=STAIRS if filled else (),
        fingerprint=FINGERPRINT,
        started_at=NOW,
        ended_at=NOW,
    )


def ended(result: TestReport | ReportList) -> JobView:
    """Return the view of a job that came to `result`."""
    kind: JobKind = "test_all" if isinstance(result, ReportList) else "test_context"
    return JobView(job_id="job", kind=kind, status="completed", message="done", result=result)


def report_of(probes: Sequence[Probe], status: Status = Status.TESTED) -> TestReport:
    """Return the report of a test that made `probes`."""
    return TestReport(
        model="gemma-3-270m",
        status=status,
        limits=Limits(declared=32_768, usable=32_768, fingerprint=FINGERPRINT, tested_at=NOW),
        probes=tuple(probes),
        stopped_because="the declared context passed",
        forecast=FORECAST,
        elapsed_s=123.456789,
    )


def after(kind: JobKind, *events: dict[str, Any]) -> JobView:
    """Return the view of a job whose engine told `events`."""
    view = JobView(job_id="job", kind=kind, status="running")
    for event in events:
        view = view.after(Event.model_validate(event))
    return view


def test_test_counts_its_probes() -> None:
    """Probes are what a test is made of; the forecast says how many there will be at most."""
    view = after(
        "test_context",
        {"kind": "planned", "done": 0, "total": 7, "forecast": FORECAST, "message": "7 probes"},
        {"kind": "probe-ended", "done": 1, "total": 7, "message": "4,096 tokens: passed"},
    )

    assert (view.done, view.total, view.message) == (1, 7, "4,096 tokens: passed")


def test_half_filled_window_is_half_a_probe() -> None:
    """Filling may take an hour, during which a bar that stands still looks dead."""
    view = after(
        "test_context",
        {"kind": "probe-started", "done": 2, "total": 7},
        {"kind": "prefill", "done": 4_096, "total": 8_000, "context": 8_192, "message": "reading"},
    )

    assert (view.done, view.total, view.message) == (2.5, 7, "8,192 tokens: reading")


@pytest.mark.parametrize("context", [1_000, 900, None])
def test_probe_is_never_done_before_it_has_ended(context: int | None) -> None:
    """The last token read is not yet an answer."""
    view = after(
        "test_context",
        {"kind": "probe-started", "done": 2, "total": 7},
        {"kind": "prefill", "done": 1_000, "total": 1_000, "context": context},
    )

    assert 2 <= view.done < 3


def test_short_question_does_not_count_as_a_full_window() -> None:
    """It is asked before the window is filled: the bar must not jump to its end."""
    view = after("test_context", {"kind": "prefill", "done": 30, "total": 30, "context": 32_768})

    assert view.done == 0


def test_answer_counts_its_tokens() -> None:
    """What an agent waits for is text: its length is the measure of progress."""
    view = after(
        "infer",
        {"kind": "loading", "context": 4_096, "message": "Loading m at context 4096..."},
        {"kind": "prefill", "done": 90, "total": 100},
        {"kind": "text", "done": 3, "total": 512, "text": "4"},
    )

    assert (view.done, view.total, view.message) == (3, 512, "Loading m at context 4096...")


def test_batch_counts_its_models_and_not_their_probes() -> None:
    """The end of one model's test, told twice when it has two passes, is not that of a model."""
    of_one = {"model": "m", "done": 5, "total": 5}
    view = after(
        "test_all",
        {"kind": "finished", "done": 0, "total": 3, "message": "0 of 3 models done"},
        {"kind": "planned", "forecast": FORECAST} | of_one,
        {"kind": "probe-ended"} | of_one,
        {"kind": "prefill", "context": 8_192} | of_one,
        {"kind": "finished"} | of_one,
    )
    assert (view.done, view.total) == (0, 3)

    view = view.after(Event(kind="finished", done=1, total=3, message="1 of 3 models done"))
    assert (view.done, view.total, view.message) == (1, 3, "1 of 3 models done")


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"kind": "prefill", "context": 8_192, "message": "reading"}, "m: 8,192 tokens: reading"),
        ({"kind": "probe-started", "message": "8,192 tokens: fill"}, "m: 8,192 tokens: fill"),
        ({"kind": "noted", "message": "m is skipped: why"}, "m is skipped: why"),
    ],
)
def test_batch_names_the_model_that_it_is_at(event: dict[str, Any], message: str) -> None:
    """Its one line must tell which of many models is meant, but not twice."""
    assert after("test_all", event | {"model": "m"}).message == message


def test_typical_report_is_told_in_full() -> None:
    """Eight probes, of which the last filled the window over nine stairs: 2 100 tokens or so."""
    view = ended(report_of([probe(n, filled=n == 8) for n in range(1, 9)]))

    assert view.brief() is view


def test_long_report_keeps_the_stairs_of_the_probe_that_proved_most() -> None:
    """Speed and recall by depth are wanted where the limit is; elsewhere the outcome will do."""
    probes = [
        *(probe(n, filled=True) for n in range(1, 7)),
        probe(7, filled=True, outcome=Outcome.OUT_OF_MEMORY),
    ]
    view = ended(report_of(probes))

    brief = view.brief()

    assert isinstance(brief.result, TestReport)
    assert [len(p.stairs) for p in brief.result.probes] == [0, 0, 0, 0, 0, 9, 0]
    assert [p.id for p in brief.result.probes] == [1, 2, 3, 4, 5, 6, 7]
    assert len(brief.result.model_dump_json()) <= LONGEST
    assert brief.message == (
        "done; details of some probes are left out here; `lmstrix history` has them"
    )


def test_report_of_failures_keeps_the_stairs_of_the_last() -> None:
    """Where nothing passed, how far the last probe came is all there is to know."""
    failed = [probe(n, filled=True, outcome=Outcome.CRASHED) for n in range(6, 0, -1)]

    brief = ended(report_of(failed, Status.FAILED)).brief()

    assert isinstance(brief.result, TestReport)
    assert [len(p.stairs) for p in brief.result.probes] == [0, 0, 0, 0, 0, 9]


def test_report_of_a_long_batch_says_of_failures_alone_how_they_came_about() -> None:
    """The limits say what a model can; why one can do nothing is in its last probe."""
    good = report_of([probe(n, filled=True) for n in range(1, 4)])
    crashed = [probe(n, filled=True, outcome=Outcome.CRASHED) for n in (2, 1)]
    bad = report_of(crashed, Status.FAILED)

    few = ended(ReportList(reports=(good, bad))).brief().result
    many = ended(ReportList(reports=(good, good, good, good, bad))).brief().result

    assert isinstance(few, ReportList)
    assert [[len(p.stairs) for p in report.probes] for report in few.reports] == [
        [0, 0, 9],
        [0, 9],
    ]
    assert isinstance(many, ReportList)
    assert [len(report.probes) for report in many.reports] == [0, 0, 0, 0, 1]
    assert [p.stairs for p in many.reports[-1].probes] == [()]
    assert [report.limits for report in many.reports][:4] == [good.limits] * 4


def test_largest_loaded_copy_is_the_one_shown() -> None:
    """Several copies may be loaded, and one of them may keep its context to itself."""
    copies = (
        LoadedModel(identifier="a", context=2_048),
        LoadedModel(identifier="b", context=8_192),
        LoadedModel(identifier="c", context=None),
    )

    assert ModelSummary.of(Model(key="m", backend="fake", loaded=copies)).loaded_context == 8_192
