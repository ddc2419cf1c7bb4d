"""What a test proves beside the limit, and what it keeps room for."""

import pytest

from engine.benches import Bench
from lmstrix.engine.discovery import ContextTest, TestPlan
from lmstrix.testing import FakeModel
from lmstrix.values import Event, Outcome, Proof, Status

MIB = 1 << 20
GROWING = FakeModel(
    declared=65_536, fixed_bytes=200 * MIB, bytes_per_token=10_000, filling=4_000, tells_prior=True
)


def forgetful(remembers: int) -> FakeModel:
    """Return a model that finds only what it was told last."""
    return FakeModel(declared=16_384, remembers=remembers)


def test_search_keeps_room_for_what_filling_takes() -> None:
    """A window that fails near its end costs all of its prefill, and has to be filled again."""
    bench = Bench(GROWING, budget_bytes=GROWING.memory_bytes(20_000, 20_000))

    report = bench.test(strategy="certify")

    assert {probe.outcome for probe in report.probes} == {Outcome.PASSED}
    assert report.limits.usable
    assert 17_000 < report.limits.usable <= 20_000


def test_search_for_answers_keeps_no_such_room() -> None:
    """They take next to nothing, and more context would answer."""
    bench = Bench(GROWING, budget_bytes=GROWING.memory_bytes(20_000, 20_000))

    answered = bench.test(strategy="certify", proof=Proof.ANSWER).limits.answered

    assert answered
    assert answered > 22_000


def test_window_that_takes_more_than_was_thought_is_searched_below() -> None:
    """No prior told that it grows; what fails by memory is not tried twice."""
    secretive = FakeModel(
        declared=65_536, fixed_bytes=200 * MIB, bytes_per_token=10_000, filling=900
    )
    bench = Bench(secretive, budget_bytes=secretive.memory_bytes(20_000))

    report = bench.test(strategy="exact")

    fills = [probe for probe in report.probes if probe.proof is Proof.FILL]
    assert fills[0].outcome is Outcome.OUT_OF_MEMORY
    assert report.limits.usable
    assert report.limits.usable < fills[0].requested
    assert len({probe.requested for probe in fills}) == len(fills)


def test_recall_has_a_limit_of_its_own_below_the_window_that_was_filled() -> None:
    """The window holds 16 384 tokens; what was told 5 000 ago is lost."""
    report = Bench(forgetful(5_000)).test(strategy="certify", proof=Proof.RECALL)

    assert report.status is Status.TESTED
    assert report.limits.usable == 16_384
    assert report.limits.recall
    assert 2_000 < report.limits.recall < 6_000
    assert "recall" in (report.probes[-1].detail or "")


def test_model_whose_recall_cannot_be_measured_is_filled_all_the_same() -> None:
    """It is no verdict on the context."""
    report = Bench(forgetful(300)).test(strategy="certify", proof=Proof.RECALL)

    assert [probe.proof for probe in report.probes[-2:]] == [Proof.RECALL, Proof.FILL]
    assert report.status is Status.TESTED
    assert (report.limits.usable, report.limits.recall) == (16_384, None)
    assert report.limits.refuted is None
    assert "recall cannot be measured" in report.stopped_because
    assert "16,384 tokens passed" in report.stopped_because


@pytest.mark.parametrize(("least", "fast_enough"), [(49.0, True), (51.0, False)])
def test_speed_asked_for_has_a_limit_of_its_own(least: float, *, fast_enough: bool) -> None:
    """The fake generates 50 tokens a second at any depth; how fast is no matter of what fits."""
    report = Bench(FakeModel(declared=16_384)).test(strategy="certify", min_tps=least)

    assert report.limits.usable == 16_384
    assert (report.usable_at_speed is not None) == fast_enough
    assert not fast_enough or 16_000 < (report.usable_at_speed or 0) <= 16_384


def test_what_the_machine_has_is_told_before_anything_is_loaded() -> None:
    """Free memory, and what others have loaded, decide what may be tried."""
    bench, told = Bench(FakeModel(declared=8_192), budget_bytes=8 << 30), list[Event]()
    bench.backend.preload("fake", 2_048)

    bench.test(on_event=told.append)

    first, second = told[:2]
    assert (first.kind, second.kind) == ("noted", "planned")
    assert "free" in first.message
    assert "1 model loaded by others (fake at 2,048 tokens)" in first.message


def test_probe_is_stopped_when_the_machine_runs_short() -> None:
    """Another program grows while the model is loaded: the probe has to end first."""
    bench = Bench(FakeModel(declared=8_192), budget_bytes=8 << 30)

    def grow(event: Event) -> None:
        if event.kind == "loading":
            bench.backend.preload("fake", 120_000)

    report = bench.test(on_event=grow, proof=Proof.ANSWER)

    assert report.probes[0].outcome is Outcome.OUT_OF_MEMORY
    assert (report.probes[0].detail or "").startswith("stopped by LMStrix: ")


def test_forecast_alone_loads_nothing_and_says_so() -> None:
    """The status is what it was."""
    bench = Bench()

    report = ContextTest(bench.model, TestPlan(), bench.hand()).report()

    assert report.status is Status.UNTESTED
    assert report.probes == ()
    assert report.forecast
    assert report.elapsed_s == 0
    assert bench.backend.calls == []
