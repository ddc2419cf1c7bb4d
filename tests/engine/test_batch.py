"""A batch learns something of every model, the smallest first, and no model stops the others."""

from typing import Any

import pytest

from engine.benches import Stop
from lmstrix.engine.batch import forecast_tests, run_tests, total
from lmstrix.engine.bench import Bench
from lmstrix.engine.discovery import TestPlan
from lmstrix.engine.events import OnEvent, ignore
from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry
from lmstrix.values import Event, Forecast, Outcome, Proof, ReportList, Status

GIB = 1 << 30
LARGE = FakeModel(key="large", fixed_bytes=8 * GIB, bytes_per_token=200_000)
SMALL = FakeModel(key="small", fixed_bytes=GIB, bytes_per_token=100_000)
CRASHING = FakeModel(key="crashing", fixed_bytes=2 * GIB, holds=10)


class Shelf:
    """Several fake models on one runtime."""

    def __init__(self, *models: FakeModel) -> None:
        self.backend = FakeBackend(*models, budget_bytes=12 * GIB)
        self.registry = MemoryRegistry(self.backend.clock)
        self.registry.put_models(self.backend.name, self.backend.list_models())

    def hand(self, on_event: OnEvent = ignore) -> Bench:
        """Return what a batch acts upon."""
        return Bench(
            backend=self.backend,
            registry=self.registry,
            clock=self.backend.clock,
            on_event=on_event,
        )

    def test(self, *, on_event: OnEvent = ignore, **plan: Any) -> ReportList:
        """Test every model as a plan of these fields says."""
        plan = {"strategy": "certify"} | plan
        return run_tests(self.registry.models(), TestPlan(**plan), self.hand(on_event))

    def loads(self) -> list[str]:
        """Return the models that were loaded, in order, each run of one once."""
        keys = [c.identifier.split(":")[0] for c in self.backend.calls if c.name == "load"]
        return [key for key, before in zip(keys, ["", *keys], strict=False) if key != before]


def test_cheaper_proof_comes_first_for_every_model_and_the_smallest_model_first() -> None:
    """A batch that is stopped early should have learnt something of each."""
    shelf = Shelf(LARGE, SMALL)

    found = shelf.test(proof=Proof.FILL)

    assert [report.model for report in found.reports] == ["small", "large"]
    assert shelf.loads() == ["small", "large", "small", "large"]
    for report in found.reports:
        assert report.status == "tested"
        assert [probe.proof for probe in report.probes][-1] == "fill"


def test_one_pass_is_enough_where_the_search_proves_what_is_wanted() -> None:
    """Nothing is loaded twice for nothing."""
    shelf = Shelf(LARGE, SMALL)
    shelf.test(proof=Proof.ANSWER)

    assert shelf.loads() == ["small", "large"]


def test_model_that_crashes_gets_its_report_and_the_others_theirs() -> None:
    """A failed model never stops the batch."""
    found = Shelf(LARGE, CRASHING, SMALL).test(proof=Proof.ANSWER)

    assert {r.model: r.status for r in found.reports} == {
        "small": "tested",
        "large": "tested",
        "crashing": "failed",
    }
    assert found.skipped == ()


def test_model_that_cannot_be_tried_is_skipped_with_the_reason() -> None:
    """Nobody should have to guess why a model has no row."""
    gone = FakeModel(key="gone", fails_load={4_096: Outcome.UNAVAILABLE})
    nameless = FakeModel(key="nameless", declared=None)

    found = Shelf(gone, nameless, SMALL).test(proof=Proof.ANSWER)

    assert [report.model for report in found.reports] == ["small"]
    reasons = {skipped.model: skipped.reason for skipped in found.skipped}
    assert reasons == {
        "gone": "the fake runtime went away",
        "nameless": "`nameless` declares no context to search below",
    }


def test_embeddings_are_skipped() -> None:
    """They generate no text, so no proof but loading means anything."""
    found = Shelf(FakeModel(key="nomic-embed-text"), SMALL).test(proof=Proof.ANSWER)

    assert [skipped.model for skipped in found.skipped] == ["nomic-embed-text"]


def test_model_tested_before_is_skipped_unless_reset() -> None:
    """A batch that is run every night should cost nothing as long as nothing changes."""
    shelf = Shelf(LARGE, SMALL)
    shelf.test(proof=Proof.ANSWER)

    again = shelf.test(proof=Proof.ANSWER)
    reset = shelf.test(proof=Proof.ANSWER, reset=True)

    assert again.reports == ()
    assert [skipped.model for skipped in again.skipped] == ["small", "large"]
    assert "tested before" in again.skipped[0].reason
    assert len(reset.reports) == 2


def test_stronger_proof_is_not_skipped_for_a_weaker_one() -> None:
    """That it answers does not show that its window can be filled."""
    shelf = Shelf(SMALL)
    shelf.test(proof=Proof.ANSWER)

    assert len(shelf.test(proof=Proof.FILL).reports) == 1
    assert len(shelf.test(proof=Proof.ANSWER).skipped) == 1


def test_all_models_at_one_size_are_probed_once_each() -> None:
    """A comparison at one size; a model that declares less has no part in it."""
    short = FakeModel(key="short", declared=2_048)
    shelf = Shelf(short, SMALL, LARGE)

    found = shelf.test(proof=Proof.ANSWER, context=8_192)
    again = shelf.test(proof=Proof.ANSWER, context=8_192)

    assert [[p.requested for p in report.probes] for report in found.reports] == [[8_192]] * 2
    assert [(s.model, s.reason) for s in found.skipped] == [("short", "it declares 2,048 tokens")]
    assert len(again.skipped) == 3


def test_every_report_is_told_as_soon_as_it_is_there() -> None:
    """Whoever stops the batch wants the table of what is done."""
    told: list[Event] = []
    Shelf(LARGE, SMALL).test(proof=Proof.FILL, on_event=told.append)

    reports = [event.report for event in told if event.kind == "finished" and event.report]
    assert [(report.model, report.status) for report in reports] == [
        ("small", Status.TESTING),
        ("large", Status.TESTING),
        ("small", Status.TESTED),
        ("large", Status.TESTED),
    ]
    assert reports[0].limits.answered


def test_stopped_batch_goes_on_where_it_was() -> None:
    """Nothing that was measured is measured again."""
    shelf = Shelf(LARGE, SMALL)

    def stop(event: Event) -> None:
        if event.kind == "finished" and event.model == "large":
            raise Stop

    with pytest.raises(Stop):
        shelf.test(proof=Proof.FILL, on_event=stop)
    before = len(shelf.registry.probes())
    found = shelf.test(proof=Proof.FILL)

    made = [probe.proof for probe in shelf.registry.probes()[before:]]
    assert made == ["fill", "fill"]
    assert [report.status for report in found.reports] == ["tested", "tested"]


def test_forecast_loads_nothing() -> None:
    """It is what `--dry-run` shows."""
    shelf = Shelf(LARGE, FakeModel(key="nomic-embed-text"), SMALL)

    found = forecast_tests(shelf.registry.models(), TestPlan(), shelf.hand())

    assert shelf.backend.calls == []
    assert [report.model for report in found.reports] == ["small", "large"]
    assert all(report.forecast and report.forecast.probes > 1 for report in found.reports)
    assert [skipped.model for skipped in found.skipped] == ["nomic-embed-text"]
    assert shelf.registry.probes() == []


def test_total_of_forecasts_adds_what_adds_up() -> None:
    """Memory is taken by one model at a time; an unknown time makes the sum unknown."""
    one = Forecast(probes=2, prefill_tokens=100, seconds=5.0, memory_bytes=7)
    other = Forecast(probes=3, prefill_tokens=50, seconds=1.0, memory_bytes=9)
    unknown = Forecast(probes=1, prefill_tokens=1, seconds=None, memory_bytes=None)

    assert total([one, other]) == Forecast(
        probes=5, prefill_tokens=150, seconds=6.0, memory_bytes=9
    )
    assert total([one, unknown]).seconds is None
