"""A test ends with numbers that were seen, and with nothing loaded, whatever happens."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.benches import Bench, Stop, stop_after
from lmstrix.errors import (
    BackendUnavailableError,
    ContextTooLongError,
    LMStrixError,
    RequestError,
)
from lmstrix.ports import LoadRequest, OnTick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import (
    Event,
    Evidence,
    Limits,
    LoadConfig,
    Model,
    Outcome,
    Probe,
    Proof,
    Status,
)

MIB = 1 << 20
REFUTING = [outcome for outcome in Outcome if outcome.refutes and outcome != "interrupted"]


def tight(hidden: int, **fields: object) -> Bench:
    """Return a bench whose memory holds exactly `hidden` tokens of context."""
    fake = FakeModel(fixed_bytes=MIB, bytes_per_token=1_000, **fields)  # type: ignore[arg-type] # a shorthand
    return Bench(fake, budget_bytes=fake.memory_bytes(hidden))


def asked(probes: Sequence[Probe], proof: Proof | None = None) -> list[int]:
    """Return the contexts that were probed, in order."""
    return [probe.requested for probe in probes if proof in {None, probe.proof}]


def assert_seen(limits: Limits, probes: Sequence[Probe]) -> None:
    """Assert that every limit claimed was passed by a probe, and none lies above a refutation."""
    claims = {
        Proof.LOAD: limits.loadable,
        Proof.ANSWER: limits.answered,
        Proof.FILL: limits.usable,
    }
    for proof, claimed in claims.items():
        passed = [
            probe.effective
            for probe in probes
            if probe.passed and probe.proof.strength >= proof.strength
        ]
        assert claimed is None or claimed in passed
    assert None in {limits.refuted, limits.usable} or limits.refuted > limits.usable  # type: ignore[operator] # neither is None


@settings(deadline=None)
@given(
    declared=st.integers(512, 200_000),
    hidden=st.integers(0, 220_000),
    granularity=st.integers(64, 8_192),
    threshold=st.integers(512, 200_000),
    proof=st.sampled_from([Proof.LOAD, Proof.ANSWER]),
)
def test_any_hidden_memory_limit_is_found(
    declared: int, hidden: int, granularity: int, threshold: int, proof: Proof
) -> None:
    """Whatever the machine holds: the number reported works, and one step more does not."""
    bench = tight(hidden, declared=declared)

    report = bench.test(granularity=granularity, threshold=threshold, proof=proof)

    found = report.limits.loadable
    assert_seen(report.limits, report.probes)
    assert bench.backend.loaded() == []
    assert report.forecast
    assert len(report.probes) <= report.forecast.probes
    if found is None:
        assert hidden < min(4_096, declared, threshold)
        assert report.status is Status.FAILED
    else:
        assert found <= hidden < found + granularity or found == declared
        assert report.status is Status.TESTED


@settings(deadline=None, max_examples=40)
@given(
    declared=st.integers(512, 24_000),
    hidden=st.integers(512, 24_000),
    holds=st.integers(0, 24_000),
    granularity=st.integers(256, 4_096),
)
def test_any_hidden_limit_of_a_full_window_is_found(
    declared: int, hidden: int, holds: int, granularity: int
) -> None:
    """A model that loads may still die of a full window; that is the limit that users meet."""
    bench = tight(hidden, declared=declared, holds=holds)

    report = bench.test(granularity=granularity)

    usable, refuted = report.limits.usable, report.limits.refuted
    assert_seen(report.limits, report.probes)
    assert bench.backend.loaded() == []
    if usable is None:
        assert report.status is Status.FAILED
    else:
        assert usable - 100 <= holds
        assert usable == declared or (refuted and usable < refuted <= usable + granularity)


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_stop_at_any_event_leaves_nothing_loaded_and_no_row_open(
    error: type[BaseException],
) -> None:
    """A caller may stop at any moment, and then neither memory nor the journal may be left over."""
    events: list[Event] = []
    whole = tight(6_000, declared=8_192, holds=5_500)
    whole.test(on_event=events.append)
    undisturbed = [probe.outcome for probe in whole.registry.probes()]
    assert len(events) > 30

    for count in range(len(events)):
        bench = tight(6_000, declared=8_192, holds=5_500)
        with pytest.raises(error):
            bench.test(on_event=stop_after(count, error))

        assert bench.backend.loaded() == []
        outcomes = [probe.outcome for probe in bench.registry.probes()]
        assert None not in outcomes
        if outcomes and outcomes != undisturbed[: len(outcomes)]:
            stopped = bench.registry.probes()[-1]
            assert outcomes[:-1] == undisturbed[: len(outcomes) - 1]
            assert (stopped.outcome, stopped.detail) == (Outcome.UNKNOWN, "stopped by the caller")


def test_being_stopped_bounds_nothing() -> None:
    """Impatience is no evidence against a size: the next test finds what is there."""
    bench = tight(6_000, declared=8_192)
    with pytest.raises(Stop):
        bench.test(on_event=stop_after(12))

    report = bench.test(granularity=256)

    assert report.limits.usable == 5_888


def test_journal_row_is_written_before_anything_is_loaded() -> None:
    """If the machine freezes in the load, the row is what tells the next run."""
    bench = tight(6_000, declared=8_192)
    seen: list[Probe] = []

    class Watching(FakeBackend):
        def load(
            self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
        ) -> FakeLoaded:
            seen.append(bench.registry.probes()[-1])
            assert seen[-1].outcome is None
            assert seen[-1].requested == request.context
            return super().load(model, request, on_tick=on_tick)

    bench.backend = Watching(bench.fake, budget_bytes=bench.budget_bytes)
    report = bench.test()

    assert [probe.id for probe in seen] == [probe.id for probe in report.probes]


def test_search_asks_briefly_and_fills_only_what_it_found() -> None:
    """A short question takes seconds, a full window minutes to hours."""
    report = tight(20_000, declared=32_768).test()

    assert asked(report.probes, Proof.FILL) == [19_456]
    assert report.limits.usable == report.limits.loadable == 19_456
    assert report.stopped_because == "19,456 tokens passed, 20,480 tokens failed: out-of-memory"


def test_certify_is_told_the_budget_and_never_asks_beyond_it() -> None:
    """Going by measured memory takes fewer loads than halving, and none of them fails."""
    halved = tight(20_000, declared=65_536).test(proof=Proof.LOAD)
    certified = tight(20_000, declared=65_536).test(proof=Proof.LOAD, strategy="certify")

    assert {probe.outcome for probe in certified.probes} == {Outcome.PASSED}
    assert len(certified.probes) < len(halved.probes)
    assert certified.limits.loadable is not None
    assert 0.94 * 20_000 <= certified.limits.loadable <= 20_000


@pytest.mark.parametrize("outcome", REFUTING)
def test_window_that_fails_to_fill_is_searched_below(outcome: Outcome) -> None:
    """What loads and cannot be filled is not usable; something below it may be."""
    fake = FakeModel(declared=8_192, fails_fill={8_192: outcome})
    events: list[Event] = []

    report = Bench(fake).test(on_event=events.append)

    certain = {Outcome.OUT_OF_MEMORY, Outcome.NO_ANSWER, Outcome.WRONG_ANSWER}
    confirming = [] if outcome in certain else [1_024, 8_192]
    assert asked(report.probes, Proof.FILL) == [8_192, *confirming, 7_168]
    assert report.limits.usable == 7_168
    assert report.limits.loadable == 8_192
    assert report.limits.refuted == 8_192
    assert report.status is Status.TESTED
    planned = [event.forecast for event in events if event.kind == "planned"]
    assert len(planned) == 3, "going on costs more than was said, and that must be said"
    assert planned[-1]
    assert len(asked(report.probes, Proof.FILL)) - 1 <= planned[-1].probes


def test_model_whose_window_cannot_be_filled_fails_the_test_and_keeps_what_it_proved() -> None:
    """That it answers is worth knowing; that it is usable must not be claimed."""
    report = Bench(FakeModel(declared=8_192, holds=200)).test()

    assert report.status is Status.FAILED
    assert report.limits.usable is None
    assert report.limits.answered == 8_192


def test_near_miss_of_a_full_window_is_found_in_small_steps() -> None:
    """Filling takes a little more memory than answering; halving would fill windows for nothing."""
    report = Bench(FakeModel(declared=32_768, holds=30_000)).test()

    windows = [size for size in asked(report.probes, Proof.FILL) if size > 4_096]
    assert list(dict.fromkeys(windows)) == [32_768, 31_744, 30_720, 28_672, 29_696]
    assert report.limits.usable == 29_696


def test_one_context_is_one_probe_with_the_proof_asked_for() -> None:
    """`--ctx N` asks one question, and gets one answer."""
    report = Bench().test(context=5_000)

    [probe] = report.probes
    assert (probe.requested, probe.proof, probe.outcome) == (5_000, Proof.FILL, Outcome.PASSED)
    assert report.forecast
    assert report.forecast.probes == 1
    assert report.status is Status.TESTED


def test_one_context_that_fails_is_a_failed_test() -> None:
    """Scripts go by it."""
    report = tight(6_000).test(context=8_192)

    assert report.status is Status.FAILED
    assert report.limits.refuted == 8_192


def test_earlier_probes_with_the_same_fingerprint_count() -> None:
    """Two tests of one context each know as much as one test of two."""
    bench = tight(6_000)
    bench.test(context=4_096)

    limits = bench.test(context=8_192).limits

    assert (limits.usable, limits.refuted, limits.evidence) == (4_096, 8_192, Evidence.EXACT)


def test_probes_of_another_configuration_do_not_count() -> None:
    """A smaller KV cache holds more; mixed up, either number would be wrong."""
    bench = Bench()
    bench.test(context=8_192, config=LoadConfig(kv_type="q8_0"))

    assert bench.test(context=4_096).limits.usable == 4_096


@pytest.mark.parametrize(
    ("chosen", "spare", "cap"), [(None, None, None), (8, None, 8), (8, 9, 8), (9, 8, 8)]
)
def test_no_load_is_allowed_more_than_user_and_machine_can_spare(
    chosen: int | None, spare: int | None, cap: int | None
) -> None:
    """A budget larger than what is free would freeze the machine all the same."""
    gib = 1 << 30
    bench = Bench(budget_bytes=None if spare is None else spare * gib)

    report = bench.test(
        proof=Proof.LOAD, context=4_096, chosen_budget=None if chosen is None else chosen * gib
    )

    request = bench.backend.calls[0].request
    assert request
    assert request.budget_bytes == (None if cap is None else cap * gib)
    assert report.limits.fingerprint
    assert report.limits.fingerprint.budget_bytes == (None if chosen is None else chosen * gib)


def test_interrupted_size_and_all_above_are_left_alone() -> None:
    """That size took the process down, and perhaps the machine."""
    bench = Bench(FakeModel(declared=32_768))
    bench.die_at(16_384)

    report = bench.test()

    assert max(asked(report.probes)) == 15_360
    assert report.limits.usable == 15_360
    assert "16,384 tokens was interrupted" in report.stopped_because
    with pytest.raises(RequestError) as refusal:
        bench.test(context=20_000)
    assert "--force" in (refusal.value.hint or "")


def test_force_tries_an_interrupted_size_and_lifts_the_bar() -> None:
    """The user may know that it was a power cut; once it has passed, the bar is lifted."""
    bench = Bench(FakeModel(declared=32_768))
    bench.die_at(16_384)

    assert bench.test(force=True).limits.usable == 32_768
    assert bench.test(context=20_000).status is Status.TESTED


def test_loading_does_not_lift_the_bar_of_a_window_that_was_not_filled() -> None:
    """The machine died of the full window; that it loads was never in doubt."""
    bench = Bench(FakeModel(declared=32_768))
    bench.die_at(16_384, Proof.FILL)
    bench.test(proof=Proof.LOAD, force=True)

    with pytest.raises(RequestError):
        bench.test(context=16_384)


def test_nothing_is_tried_where_every_size_is_barred() -> None:
    """There is no size left that is known to be harmless."""
    bench = Bench()
    bench.die_at(1_024)

    with pytest.raises(RequestError, match="interrupted"):
        bench.test()
    with pytest.raises(RequestError):
        bench.test(granularity=0)

    assert bench.backend.calls == []


@pytest.mark.parametrize(
    ("fake", "plan", "error"),
    [
        (FakeModel(declared=8_192), {"context": 8_193}, ContextTooLongError),
        (FakeModel(), {"strategy": "guess"}, RequestError),
        (FakeModel(declared=None), {}, RequestError),
        (FakeModel(), {"granularity": 0}, RequestError),
        (FakeModel(), {"context": -1}, RequestError),
    ],
)
def test_plan_that_cannot_be_followed_is_refused_before_anything_happens(
    fake: FakeModel, plan: dict[str, Any], error: type[LMStrixError]
) -> None:
    """Neither a load nor a journal row may come of a mistake."""
    bench = Bench(fake)

    with pytest.raises(error):
        bench.test(**plan)

    assert bench.backend.calls == []
    assert bench.registry.probes() == []


def test_model_that_declares_nothing_can_be_probed_at_one_context() -> None:
    """There is nothing to search below, but the user may know what to try."""
    assert Bench(FakeModel(declared=None)).test(context=8_192).limits.usable == 8_192


def test_lost_runtime_ends_the_test_with_its_error_and_bounds_nothing() -> None:
    """A runtime that was closed says nothing about a context."""
    bench = Bench(FakeModel(declared=32_768, fails_load={19_456: Outcome.UNAVAILABLE}))

    with pytest.raises(BackendUnavailableError):
        bench.test()

    last = bench.registry.probes()[-1]
    assert (last.requested, last.outcome) == (19_456, Outcome.UNAVAILABLE)
    assert bench.model.limits
    assert bench.model.limits.refuted is None
    assert bench.model.limits.loadable == 4_096


def test_refused_load_ends_the_search_without_refuting() -> None:
    """A guardrail goes by an estimate, and may be wrong."""
    report = Bench(FakeModel(declared=32_768, refused_above=10_000)).test()

    assert report.limits.refuted is None
    assert report.limits.usable == 4_096
    assert "refused" in report.stopped_because


def test_runtime_that_resizes_is_certified_at_what_it_loads() -> None:
    """LM Studio may load 9 000 whatever is asked for; 9 000 is then the number to prove."""
    report = Bench(FakeModel(declared=32_768, resizes_to=9_000)).test()

    assert report.limits.usable == 9_000
    assert report.status is Status.TESTED


@pytest.mark.parametrize(
    ("fake", "proof"),
    [
        (FakeModel(declared=32_768, fails_fill={32_768: Outcome.CRASHED}), Proof.FILL),
        (FakeModel(declared=4_100, resizes_to=4_098), Proof.LOAD),
    ],
)
def test_progress_counts_probes_against_the_forecast(fake: FakeModel, proof: Proof) -> None:
    """A bar that runs backwards, or past its end, is worse than none."""
    events: list[Event] = []
    Bench(fake).test(proof=proof, on_event=events.append)

    of_probes = [
        event
        for event in events
        if event.kind in {"planned", "probe-started", "probe-ended", "finished"}
    ]
    done = [event.done for event in of_probes if event.done is not None]
    assert len(done) == len(of_probes)
    assert all(left <= right for left, right in pairwise(done))
    assert all(event.done <= event.total for event in of_probes)  # type: ignore[operator] # counted above
    assert of_probes[-1].done == of_probes[-1].total
    assert all(event.message for event in of_probes)


def test_end_of_a_probe_is_told_with_its_figures() -> None:
    """This line is what a user watches for an hour."""
    events: list[Event] = []
    Bench(FakeModel(fixed_bytes=1 << 30, bytes_per_token=0)).test(
        proof=Proof.LOAD, context=16_384, on_event=events.append
    )

    [ended] = [event for event in events if event.kind == "probe-ended"]
    assert ended.message == "16,384 tokens: passed (1.0 GiB, 2.0 s)"
    assert ended.probe
    assert ended.probe.passed


def test_time_is_forecast_once_a_speed_is_known() -> None:
    """The second time, the user can be told how long it takes."""
    bench = Bench(FakeModel(declared=8_192))

    first, second = bench.test().forecast, bench.test().forecast

    assert first
    assert second
    assert first.seconds is None
    assert second.seconds is not None
    assert bench.test().elapsed_s <= second.seconds


def test_bad_request_found_by_the_runtime_closes_the_journal() -> None:
    """A KV type that the runtime does not know is the caller's mistake, not the model's."""

    class Choosy(FakeBackend):
        def load(
            self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
        ) -> FakeLoaded:
            raise RequestError("no such KV type")

    bench = Bench()
    bench.backend = Choosy(bench.fake)

    with pytest.raises(RequestError):
        bench.test()

    [probe] = bench.registry.probes()
    assert (probe.outcome, probe.detail) == (Outcome.UNKNOWN, "no such KV type")
