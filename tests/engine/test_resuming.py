"""A search that was broken off goes on where it was; one that ended is measured afresh."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.benches import Bench, Stop, stop_after
from lmstrix.engine.discovery import TestPlan, run_test
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.values import Event, Fingerprint, LoadConfig, Model, Outcome, Proof, TestReport

MIB = 1 << 20
HIDDEN = 21_000


def tight(**fields: Any) -> Bench:
    """Return a bench whose memory holds 21 000 tokens of context."""
    fake = FakeModel(fixed_bytes=500 * MIB, bytes_per_token=50_000, **fields)
    return Bench(fake, budget_bytes=fake.memory_bytes(HIDDEN))


def stop_at_probe(number: int) -> Callable[[Event], None]:
    """Return an `on_event` that has had enough when that probe starts, counted from 1."""
    started = []

    def listen(event: Event) -> None:
        if event.kind == "probe-started":
            started.append(event)
            if len(started) == number:
                raise Stop

    return listen


def contexts(report: TestReport) -> list[tuple[str, int]]:
    """Return what was probed, in order."""
    return [(probe.proof, probe.requested) for probe in report.probes]


class Newer(FakeBackend):
    """The same runtime after an update."""

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """Return one that differs in the runtime only."""
        old = super().fingerprint(model, config)
        return old.model_copy(update={"runtime": f"{self.name} 2"})


def updated(bench: Bench, fake: FakeModel | None = None) -> Bench:
    """Return `bench` with its runtime updated, and perhaps its model behaving otherwise."""
    newer = Bench(fake or bench.fake)
    newer.backend = Newer(fake or bench.fake, budget_bytes=bench.budget_bytes)
    newer.registry = bench.registry
    return newer


@settings(deadline=None, max_examples=20)
@given(events=st.integers(0, 120), strategy=st.sampled_from(["certify", "exact", "bisect"]))
def test_search_stopped_anywhere_ends_where_an_undisturbed_one_does(
    events: int, strategy: str
) -> None:
    """What is on record is not measured again, and leads to the same limit."""
    calm = tight().test(strategy=strategy)
    bench = tight()
    try:
        resumed = bench.test(strategy=strategy, on_event=stop_after(events))
    except Stop:
        resumed = bench.test(strategy=strategy)

    assert resumed.limits.usable == calm.limits.usable
    assert contexts(resumed) == contexts(calm)


@pytest.mark.parametrize("proof", [Proof.ANSWER, Proof.FILL])
def test_resumed_search_probes_only_what_was_left(proof: Proof) -> None:
    """Every probe costs minutes."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(proof=proof, strategy="certify", on_event=stop_at_probe(3))
    before = len(bench.backend.calls)
    report = bench.test(proof=proof, strategy="certify")

    loads = [call for call in bench.backend.calls[before:] if call.name == "load"]
    assert len(loads) == len(report.probes) - 2
    assert report.status == "tested"


def test_resuming_is_told() -> None:
    """Who sees a search begin at 30 000 tokens should know why."""
    bench, told = tight(), list[Event]()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    bench.test(strategy="certify", on_event=told.append)

    notes = [event.message for event in told if event.kind == "noted"]
    assert notes[1:] == ["going on after 2 probes of an interrupted search"]


@pytest.mark.parametrize(
    "other",
    [{"reset": True}, {"proof": Proof.ANSWER}, {"granularity": 2_048}, {"strategy": "exact"}],
)
def test_another_plan_or_reset_begins_afresh(other: dict[str, Any]) -> None:
    """Another question may have another answer."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))

    report = bench.test(**{"strategy": "certify"} | other)

    assert report.probes[0].id == 4


def test_search_that_ended_is_measured_afresh() -> None:
    """Who asks again wants to know whether it is still so."""
    bench = tight()
    first = bench.test(strategy="certify")
    second = bench.test(strategy="certify")

    assert contexts(second) == contexts(first)
    assert {probe.id for probe in first.probes}.isdisjoint(probe.id for probe in second.probes)


def test_interrupted_size_is_left_alone_when_its_search_goes_on() -> None:
    """It may have frozen the machine; the search ends below it."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    wanted = tight().test(strategy="certify").probes[2].requested
    bench.die_at(wanted, Proof.ANSWER)

    report = bench.test(strategy="certify")

    assert report.status == "tested"
    assert max(probe.requested for probe in report.probes if probe.passed) < wanted
    assert f"a probe at {wanted:,} tokens was interrupted" in report.stopped_because


def test_forced_search_goes_on_through_the_interrupted_size() -> None:
    """The user knows that it was the power that failed."""
    bench = tight()
    calm = tight().test(strategy="certify")
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    bench.die_at(calm.probes[2].requested, Proof.ANSWER)

    report = bench.test(strategy="certify", force=True)

    assert report.limits.usable == calm.limits.usable


def test_note_that_cannot_be_read_begins_the_search_again() -> None:
    """It may be another version's."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    [name] = [name for name in bench.registry._notes if name.startswith("search ")]
    bench.registry.put_note(name, '{"since": "never"}')

    assert bench.test(strategy="certify").probes[0].id == 4


def test_limit_of_an_older_runtime_is_tried_once_and_no_search_follows_if_it_holds() -> None:
    """One load and one fill, instead of five loads."""
    bench = tight()
    old = bench.test(strategy="certify").limits.usable

    report = updated(bench).test(strategy="certify")

    assert contexts(report) == [("fill", old)]
    assert (report.status, report.limits.usable) == ("tested", old)
    assert "fake 1" in report.stopped_because


def test_limit_that_holds_no_more_is_searched_for() -> None:
    """The new runtime needs more memory: the old limit is refuted, and a lower one found."""
    bench = tight()
    old = bench.test(strategy="certify").limits.usable
    assert old
    hungry = FakeModel(fixed_bytes=900 * MIB, bytes_per_token=50_000)

    report = updated(bench, hungry).test(strategy="certify")

    assert contexts(report)[0] == ("fill", old)
    assert report.limits.usable
    assert report.limits.usable < old
    assert len(report.probes) > 2


def test_reset_trusts_no_older_limit() -> None:
    """It wants the limit, and it may have grown."""
    bench = tight()
    bench.test(strategy="certify")

    assert len(updated(bench).test(strategy="certify", reset=True).probes) > 2


def test_verifying_that_is_stopped_goes_on_with_it() -> None:
    """A stop while the old limit is filled decides nothing."""
    bench = tight()
    old = bench.test(strategy="certify").limits.usable
    newer = updated(bench)
    with pytest.raises(Stop):
        newer.test(strategy="certify", on_event=stop_at_probe(1))

    assert contexts(newer.test(strategy="certify")) == [("fill", old)]


def test_test_of_one_context_does_not_disturb_a_search() -> None:
    """It is another question; the search goes on behind it."""
    bench = tight()
    with pytest.raises(Stop):
        bench.test(strategy="certify", on_event=stop_at_probe(3))
    bench.test(context=8_192, proof=Proof.LOAD)

    report = run_test(bench.model, TestPlan(strategy="certify"), bench.hand())

    assert report.limits.usable == tight().test(strategy="certify").limits.usable
    assert Outcome.UNKNOWN not in {probe.outcome for probe in report.probes}
