"""What a job's view makes of the engine's events."""

from typing import Any

import pytest

from lmstrix.server.views import JobKind, JobView, ModelSummary
from lmstrix.values import Event, Forecast, LoadedModel, Model

FORECAST = Forecast(probes=7, prefill_tokens=32_768, seconds=None, memory_bytes=None)


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


def test_largest_loaded_copy_is_the_one_shown() -> None:
    """Several copies may be loaded, and one of them may keep its context to itself."""
    copies = (
        LoadedModel(identifier="a", context=2_048),
        LoadedModel(identifier="b", context=8_192),
        LoadedModel(identifier="c", context=None),
    )

    assert ModelSummary.of(Model(key="m", backend="fake", loaded=copies)).loaded_context == 8_192
