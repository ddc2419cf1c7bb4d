"""The limits are what the probes prove: no more, and by the latest evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.limits import derive_limits, status_of
from lmstrix.engine.recall import recall_limit
from lmstrix.values import (
    Evidence,
    Fingerprint,
    Limits,
    Outcome,
    Probe,
    Proof,
    RecallScore,
    Stair,
    Status,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HERE = Fingerprint(model="m", runtime="r 1", machine="x")
THERE = HERE.model_copy(update={"runtime": "r 2"})
NEUTRAL = [outcome for outcome in Outcome if outcome is not Outcome.PASSED and not outcome.refutes]


def ended(
    requested: int,
    outcome: Outcome = Outcome.PASSED,
    *,
    proof: Proof = Proof.FILL,
    effective: int | None = 0,
    at: int = 0,
    **fields: object,
) -> Probe:
    """Return a probe that ended `at` minutes past noon; 0 stands for an effective as requested."""
    end = NOON + timedelta(minutes=at)
    loaded = requested if effective == 0 else effective
    known = {"requested": requested, "effective": loaded, "proof": proof, "outcome": outcome}
    times = {"started_at": NOON, "ended_at": end, "id": at or None, "fingerprint": HERE}
    return Probe.model_validate({"model": "m", **known, **times, **fields})


def stair(depth: int, found: int, *, asked: int = 8) -> Stair:
    """Return a depth at which so many facts were found."""
    score = RecallScore(asked=asked, found=found, positions=())
    return Stair(depth=depth, prefilled=depth, recall=score)


def recalled(context: int, *found: tuple[int, int], **fields: object) -> Probe:
    """Return a passing probe that found so many facts at these depths."""
    stairs = tuple(stair(depth, facts) for depth, facts in found)
    return ended(context, proof=Proof.RECALL, stairs=stairs, **fields)  # type: ignore[arg-type] # a shorthand


def in_order(*probes: Probe) -> list[Probe]:
    """Return `probes` as if each had ended a minute after the one before it."""
    return [
        probe.model_copy(update={"id": minute, "ended_at": NOON + timedelta(minutes=minute)})
        for minute, probe in enumerate(probes, start=1)
    ]


def limits_of(*probes: Probe, declared: int | None = None) -> Limits:
    """Return the limits of probes that ended in this order."""
    return derive_limits(declared, in_order(*probes), fingerprint=HERE)


# Few sizes, so that probes meet; odd ones, so that the runtime rounds.
CONTEXTS = st.integers(1, 12).map(lambda eighth: eighth * 128)
DECLARED = st.none() | CONTEXTS
STAIRS = st.lists(
    st.builds(stair, CONTEXTS, st.integers(0, 8)),
    max_size=4,
    unique_by=lambda stair: stair.depth,
).map(lambda stairs: tuple(sorted(stairs, key=lambda stair: stair.depth)))
PROBES = st.builds(
    ended,
    CONTEXTS,
    st.sampled_from(Outcome) | st.just(Outcome.PASSED),
    proof=st.sampled_from(Proof),
    effective=st.sampled_from([0, 0, None]) | CONTEXTS.map(lambda size: -(-size // 256) * 256),
    confirmed=st.sampled_from([False, False, False, True]),
    stairs=STAIRS,
)
HISTORIES = st.lists(PROBES, max_size=12).map(lambda probes: in_order(*probes))


@dataclass
class Replay:
    """The definition, word for word: one proof, probe after probe.

    A pass is what it holds, and the probe that passed.
    """

    proof: Proof
    declared: int | None
    passes: list[tuple[int, Probe]] = field(default_factory=list)
    failures: set[int] = field(default_factory=set)
    doubts: dict[int, bool] = field(default_factory=dict)

    def add(self, probe: Probe) -> None:
        """Let `probe` end."""
        if probe.passed and probe.effective is not None:
            for failed in self.doubts:
                self.doubts[failed] |= probe.effective < failed
            if probe.proof.strength >= self.proof.strength:
                self._pass(probe, probe.effective)
        elif probe.outcome is not None and probe.outcome.refutes and self._bears(probe):
            self._fail(probe)

    def _pass(self, probe: Probe, size: int) -> None:
        if self.declared is not None and self.declared < size <= self.declared + 255:
            size = self.declared
        if self.proof is Proof.RECALL:
            depth = recall_limit(probe.stairs)
            if depth is None:
                return
            size = size if depth == max(s.depth for s in probe.stairs) else min(size, depth)
        self.failures = {failed for failed in self.failures if failed > size}
        self.doubts = {failed: seen for failed, seen in self.doubts.items() if failed > size}
        self.passes.append((size, probe))

    def _fail(self, probe: Probe) -> None:
        failed = probe.requested
        if probe.effective is not None and probe.outcome is not Outcome.INTERRUPTED:
            failed = min(failed, probe.effective)
        at_once = probe.confirmed or probe.outcome in {"out-of-memory", "interrupted"}
        if at_once or self.doubts.get(failed):
            self.passes = [(held, by) for held, by in self.passes if held < failed]
            self.failures.add(failed)
        else:
            self.doubts.setdefault(failed, False)

    def _bears(self, probe: Probe) -> bool:
        at_load = probe.effective is None or probe.outcome is Outcome.INTERRUPTED
        return at_load or probe.proof.strength <= self.proof.strength

    def limit(self, within: Sequence[Probe] | None = None) -> int | None:
        """Return the largest pass, of those that stand elsewhere too."""
        standing = [held for held, by in self.passes if within is None or by in within]
        return max(standing, default=None)


@given(DECLARED, HISTORIES)
@settings(max_examples=400)
def test_limits_are_those_of_a_replay_by_the_definition(
    declared: int | None, probes: list[Probe]
) -> None:
    """The module walks backwards; what users rely on is written forwards."""
    replays = {proof: Replay(proof, declared) for proof in Proof}
    for probe in probes:
        for replay in replays.values():
            replay.add(probe)

    limits = derive_limits(declared, probes, fingerprint=HERE)

    windows = [by for _, by in replays[Proof.FILL].passes]
    assert limits.loadable == replays[Proof.LOAD].limit()
    assert limits.answered == replays[Proof.ANSWER].limit()
    assert limits.usable == replays[Proof.FILL].limit()
    assert limits.recall == replays[Proof.RECALL].limit(within=windows)
    assert limits.refuted == min(replays[Proof.FILL].failures, default=None)


@given(DECLARED, HISTORIES)
def test_limits_are_ordered_and_below_what_is_refuted(
    declared: int | None, probes: list[Probe]
) -> None:
    """A stronger proof never holds more than a weaker one, and nothing refuted is claimed."""
    limits = derive_limits(declared, probes, fingerprint=HERE)

    claimed = [limits.recall or 0, limits.usable or 0, limits.answered or 0, limits.loadable or 0]
    assert claimed == sorted(claimed)
    if limits.refuted is not None:
        assert (limits.usable or 0) < limits.refuted
    if limits.usable is not None and declared is not None:
        assert limits.efficiency == limits.usable / declared


@given(DECLARED, HISTORIES)
def test_every_number_claimed_was_seen(declared: int | None, probes: list[Probe]) -> None:
    """It is an effective context that passed, the declared one it rounds to, or a depth in it."""
    limits = derive_limits(declared, probes, fingerprint=HERE)

    claims = {
        Proof.LOAD: limits.loadable,
        Proof.ANSWER: limits.answered,
        Proof.FILL: limits.usable,
        Proof.RECALL: limits.recall,
    }
    for proof, claim in claims.items():
        shown = [p for p in probes if p.passed and p.proof.strength >= proof.strength]
        seen = {p.effective or 0 for p in shown}
        if proof is Proof.RECALL:
            seen |= {stair.depth for p in shown for stair in p.stairs}
        rounded = {declared} if any(0 < size - (declared or size) < 256 for size in seen) else set()
        assert claim is None or claim in seen | rounded


@given(DECLARED, HISTORIES, st.data())
def test_order_of_the_list_does_not_matter(
    declared: int | None, probes: list[Probe], data: st.DataObject
) -> None:
    """What counts is when a probe ended; and hearing of it twice changes nothing."""
    shuffled = data.draw(st.permutations(probes * 2))

    assert derive_limits(declared, shuffled, fingerprint=HERE) == derive_limits(
        declared, probes, fingerprint=HERE
    )


def test_probes_that_ended_in_the_same_instant_count_in_the_order_they_were_opened() -> None:
    """Clocks tick coarsely; the numbers in the registry do not."""
    first, second = ended(4_096, id=1), ended(4_096, Outcome.OUT_OF_MEMORY, id=2)

    assert derive_limits(None, [second, first], fingerprint=HERE).usable is None


@given(DECLARED, HISTORIES, CONTEXTS, st.sampled_from(NEUTRAL))
def test_neutral_outcome_changes_no_limit(
    declared: int | None, probes: list[Probe], context: int, outcome: Outcome
) -> None:
    """A guardrail, a lost runtime or a resized load says nothing about the context asked for."""
    before = limits_of(*probes, declared=declared)
    after = limits_of(*probes, ended(context, outcome), declared=declared)

    ignored = {"tested_at", "evidence"}
    assert after.model_dump(exclude=ignored) == before.model_dump(exclude=ignored)


@given(DECLARED, HISTORIES, CONTEXTS)
def test_latest_probe_wins(declared: int | None, probes: list[Probe], context: int) -> None:
    """Whatever was measured before, what happened last is believed."""
    failed = limits_of(*probes, ended(context, Outcome.OUT_OF_MEMORY), declared=declared)
    passed = limits_of(*probes, ended(context), declared=None)

    assert (failed.usable or 0) < context
    assert failed.refuted is not None
    assert failed.refuted <= context
    assert (passed.usable or 0) >= context
    assert passed.refuted is None or passed.refuted > context


def test_full_window_answered_proves_loading_and_answering_too() -> None:
    """One filling probe is the whole proof, except of recall."""
    limits = limits_of(ended(4_096))

    assert (limits.loadable, limits.answered, limits.usable) == (4_096, 4_096, 4_096)
    assert limits.recall is None


@pytest.mark.parametrize(
    ("effective", "held"), [(5_000, 5_000), (5_120, 5_000), (5_255, 5_000), (5_256, 5_256)]
)
def test_load_rounded_up_past_the_declared_limit_holds_the_declared_limit(
    effective: int, held: int
) -> None:
    """llama.cpp rounds up to 256; nobody wants to hear that 5 120 of 5 000 tokens are usable."""
    limits = limits_of(ended(5_000, effective=effective), declared=5_000)

    assert limits.usable == held


def test_effective_context_counts_and_not_the_one_asked_for() -> None:
    """Runtimes resize silently, in both directions."""
    assert limits_of(ended(40_000, effective=40_192), declared=131_072).usable == 40_192
    assert limits_of(ended(40_000, effective=4_096), declared=131_072).usable == 4_096


def test_failure_to_fill_leaves_loading_and_answering_alone() -> None:
    """A window that loads but cannot be filled still loads."""
    limits = limits_of(
        recalled(8_192, (8_000, 8)),
        ended(16_384, proof=Proof.ANSWER),
        ended(8_192, Outcome.WRONG_ANSWER, proof=Proof.FILL, confirmed=True),
    )

    assert (limits.loadable, limits.answered) == (16_384, 16_384)
    assert (limits.usable, limits.recall, limits.refuted) == (None, None, 8_192)


def test_failure_to_recall_leaves_the_usable_limit_alone() -> None:
    """Lost facts are no reason to fear the window."""
    lost = ended(8_192, Outcome.WRONG_ANSWER, proof=Proof.RECALL, confirmed=True)

    limits = limits_of(recalled(8_192, (8_000, 8)), lost)

    assert (limits.usable, limits.recall, limits.refuted) == (8_192, None, None)


@pytest.mark.parametrize(
    ("outcome", "effective"), [(Outcome.OUT_OF_MEMORY, None), (Outcome.INTERRUPTED, 8_192)]
)
def test_failure_at_load_and_an_interruption_bear_on_every_proof(
    outcome: Outcome, effective: int | None
) -> None:
    """What did not load has no window; a machine that froze does not say how far it came."""
    limits = limits_of(
        recalled(4_096, (4_000, 8)),
        ended(16_384, proof=Proof.LOAD),
        ended(8_192, outcome, proof=Proof.RECALL, effective=effective),
    )

    assert (limits.loadable, limits.usable, limits.recall) == (4_096, 4_096, 4_096)
    assert limits.refuted == 8_192


UNCERTAIN = [
    outcome
    for outcome in Outcome
    if outcome.refutes and outcome not in {"out-of-memory", "interrupted"}
]


@pytest.mark.parametrize("outcome", UNCERTAIN)
def test_single_failure_is_a_doubt_that_neither_refutes_nor_discards(outcome: Outcome) -> None:
    """A server that hiccups fails at every size; the size must not take the blame."""
    limits = limits_of(ended(16_384), ended(8_192, outcome))

    assert (limits.usable, limits.refuted) == (16_384, None)


@pytest.mark.parametrize("outcome", UNCERTAIN)
@pytest.mark.parametrize("proof", [Proof.LOAD, Proof.FILL])
def test_failure_that_comes_back_counts_once_a_smaller_size_has_worked(
    outcome: Outcome, proof: Proof
) -> None:
    """By whatever proof: it shows that the runtime is well, and that size is what decides."""
    works = ended(4_096, proof=proof)
    limits = limits_of(ended(16_384), ended(8_192, outcome), works, ended(8_192, outcome))

    assert limits.usable == (4_096 if proof is Proof.FILL else None)
    assert limits.refuted == 8_192


@pytest.mark.parametrize("outcome", UNCERTAIN)
@pytest.mark.parametrize("between", [[], [ended(8_192, proof=Proof.ANSWER)]])
def test_failures_prove_nothing_as_long_as_nothing_smaller_works(
    outcome: Outcome, between: list[Probe]
) -> None:
    """A runtime that fails at every size says nothing about any: that is a class of failure."""
    again = [ended(8_192, outcome), *between] * 3
    limits = limits_of(ended(16_384), *again)

    assert (limits.usable, limits.refuted) == (16_384, None)


def test_failure_that_comes_back_after_that_size_or_a_larger_one_worked_is_a_new_doubt() -> None:
    """Twice in a thousand loads is what a flaky runtime does."""
    for cleared in (ended(8_192), ended(12_288)):
        doubt = ended(8_192, Outcome.CRASHED)
        limits = limits_of(ended(16_384), doubt, cleared, doubt)

        assert (limits.usable, limits.refuted) == (16_384, None)


def test_failures_of_two_proofs_confirm_each_other_for_what_both_bear_on() -> None:
    """The window that crashed a short question, then a long one, is refuted for the long one."""
    limits = limits_of(
        ended(4_096),
        ended(8_192, proof=Proof.LOAD),
        ended(8_192, Outcome.CRASHED, proof=Proof.ANSWER),
        ended(2_048, proof=Proof.LOAD),
        ended(8_192, Outcome.WRONG_ANSWER, proof=Proof.FILL),
        ended(8_192, proof=Proof.ANSWER),
    )

    assert (limits.answered, limits.usable, limits.refuted) == (8_192, 4_096, 8_192)


def test_failure_that_a_probe_confirmed_counts_at_once() -> None:
    """It was seen twice in one probe, a smaller size working in between."""
    limits = limits_of(ended(16_384), ended(8_192, Outcome.TOO_SLOW, confirmed=True))

    assert (limits.usable, limits.refuted) == (None, 8_192)


def test_failure_told_of_twice_has_not_happened_twice() -> None:
    """Evidence from two sources may overlap; the number in the registry tells."""
    doubt = ended(8_192, Outcome.CRASHED, at=2)

    assert derive_limits(None, [ended(8_192, at=1), doubt, doubt], fingerprint=HERE).usable == 8_192


@pytest.mark.parametrize(
    ("found", "limit"),
    [
        ([(1_000, 8), (4_000, 8), (8_000, 7)], 8_192),
        ([(1_000, 8), (4_000, 7), (8_000, 6)], 4_000),
        ([(1_000, 8), (4_000, 3), (8_000, 8)], 8_192),
        ([(1_000, 8), (4_000, 3), (8_000, 3)], 1_000),
        ([], None),
    ],
)
def test_recall_is_the_largest_depth_with_nearly_all_the_facts(
    found: list[tuple[int, int]], limit: int | None
) -> None:
    """85 % of what is found near the start; at the bottom, it is the whole window that serves."""
    limits = limits_of(recalled(8_192, *found))

    assert (limits.usable, limits.recall) == (8_192, limit)


def test_recall_at_the_bottom_of_a_rounded_window_is_recall_of_the_declared_one() -> None:
    """As for every other proof, no more is claimed than the file does."""
    deep = recalled(5_000, (1_000, 8), (5_050, 8), effective=5_120)
    shallow = recalled(5_000, (1_000, 8), (5_050, 8), (5_110, 0), effective=5_120)

    assert limits_of(deep, declared=5_000).recall == 5_000
    assert limits_of(shallow, declared=5_000).recall == 5_000


def test_recall_within_a_window_that_fails_later_is_gone_with_it() -> None:
    """The facts were found in a window that no longer loads; what a smaller one does is unseen."""
    window = recalled(8_192, (1_000, 8), (4_000, 8), (8_000, 2))

    limits = limits_of(window, ended(8_192, Outcome.OUT_OF_MEMORY, effective=None))

    assert (limits.usable, limits.recall) == (None, None)


def test_speeds_come_from_the_largest_standing_pass_that_has_them() -> None:
    """Speed falls with context: the figure of a small probe would flatter the limit."""
    limits = limits_of(
        ended(4_096, prefill_tps=900.0, decode_tps=50.0, ttft_s=1.0),
        ended(8_192, prefill_tps=700.0, decode_tps=40.0),
        ended(8_192, prefill_tps=710.0),
        ended(6_144, prefill_tps=800.0),
        ended(16_384, prefill_tps=1.0),
        ended(16_384, Outcome.OUT_OF_MEMORY, effective=None),
    )

    assert (limits.prefill_tps, limits.decode_tps, limits.ttft_s) == (710.0, 40.0, 1.0)


def test_speed_of_a_full_window_goes_before_that_of_a_larger_short_question() -> None:
    """The limit that is shown is the usable one, and so is the speed beside it."""
    limits = limits_of(
        ended(6_144, proof=Proof.FILL, decode_tps=20.0),
        ended(8_192, proof=Proof.ANSWER, decode_tps=60.0),
    )

    assert (limits.usable, limits.decode_tps) == (6_144, 20.0)


@given(st.integers(0, 1 << 20), st.integers(0, 1 << 34), st.sets(CONTEXTS, min_size=2, max_size=6))
def test_bytes_per_token_is_the_slope_of_the_memory_law(
    slope: int, base: int, contexts: set[int]
) -> None:
    """Memory is a straight line over context: its slope is what one more token costs."""
    limits = limits_of(*(ended(c, memory_bytes=base + slope * c) for c in sorted(contexts)))

    assert limits.bytes_per_token == pytest.approx(slope, rel=1e-6, abs=1e-3)


def test_memory_that_filling_takes_is_not_taken_for_that_of_the_context() -> None:
    """On llama.cpp a read token costs kilobytes of its own: enough to double a small model's."""

    def takes(context: int, read: int = 0) -> int:
        return 500_000_000 + 18_000 * context + 9_000 * read

    answered = [
        ended(size, proof=Proof.ANSWER, memory_bytes=takes(size, 60)) for size in (4_096, 20_480)
    ]
    filled = [ended(size, memory_bytes=takes(size, size)) for size in (30_720, 28_672)]

    assert limits_of(*answered, *filled).bytes_per_token == pytest.approx(18_000)
    assert limits_of(answered[0], *filled).bytes_per_token == pytest.approx(27_000)
    assert limits_of(answered[0], filled[0]).bytes_per_token is None


@pytest.mark.parametrize(
    "probes",
    [
        [ended(4_096, memory_bytes=1_000), ended(4_096, memory_bytes=2_000)],
        [ended(4_096, memory_bytes=1_000), ended(8_192, Outcome.CRASHED, memory_bytes=2_000)],
        [ended(4_096, memory_bytes=2_000), ended(8_192, memory_bytes=1_000)],
    ],
    ids=["one context", "one pass", "a falling line"],
)
def test_bytes_per_token_is_unknown_without_a_rising_line(probes: Sequence[Probe]) -> None:
    """A forecast that was not measured is worse than none."""
    assert limits_of(*probes).bytes_per_token is None


def test_probe_that_still_runs_proves_nothing() -> None:
    """Its row is written before anything is known."""
    running = ended(8_192).model_copy(update={"outcome": None, "ended_at": None})

    limits = derive_limits(8_192, [running], fingerprint=HERE)

    assert limits == Limits(declared=8_192, fingerprint=HERE)


@pytest.mark.parametrize(
    ("probes", "fingerprint", "evidence"),
    [
        ([], HERE, Evidence.NONE),
        ([ended(1)], HERE, Evidence.EXACT),
        ([ended(1)], THERE, Evidence.STALE),
        ([ended(1), ended(2, fingerprint=THERE)], HERE, Evidence.STALE),
        ([ended(1, fingerprint=None)], None, Evidence.STALE),
    ],
)
def test_evidence_is_exact_only_for_the_fingerprint_asked_for(
    probes: Sequence[Probe], fingerprint: Fingerprint | None, evidence: Evidence
) -> None:
    """A limit measured under another runtime is a hint, not a promise."""
    assert derive_limits(8_192, probes, fingerprint=fingerprint).evidence is evidence


@pytest.mark.parametrize(
    ("probes", "status"),
    [
        ([], Status.UNTESTED),
        ([ended(4_096), ended(8_192, Outcome.INTERRUPTED)], Status.TESTED),
        ([ended(4_096, proof=Proof.LOAD)], Status.TESTED),
        ([ended(4_096, Outcome.CRASHED)], Status.FAILED),
        ([ended(4_096), ended(4_096, Outcome.CRASHED, effective=None)], Status.TESTED),
        ([ended(4_096), *[ended(4_096, Outcome.CRASHED)] * 2], Status.TESTED),
        ([ended(4_096), *[ended(4_096, Outcome.CRASHED, effective=None)] * 2], Status.TESTED),
        ([ended(4_096, Outcome.CRASHED), ended(4_096, Outcome.INTERRUPTED)], Status.INTERRUPTED),
        ([ended(4_096, Outcome.INTERRUPTED), ended(4_096, Outcome.CRASHED)], Status.FAILED),
        ([ended(4_096, Outcome.INTERRUPTED), ended(4_096, Outcome.UNKNOWN)], Status.INTERRUPTED),
        *(([ended(4_096, outcome)], Status.UNTESTED) for outcome in NEUTRAL),
    ],
)
def test_status_says_whether_a_context_is_left_that_works(
    probes: Sequence[Probe], status: Status
) -> None:
    """Agents choose models by it."""
    ordered = in_order(*probes)

    assert status_of(ordered, derive_limits(8_192, ordered, fingerprint=HERE)) is status


def test_status_is_testing_while_a_probe_runs() -> None:
    """What was measured before does not say that the test is over."""
    probes = [ended(4_096), ended(8_192).model_copy(update={"outcome": None, "ended_at": None})]

    limits = derive_limits(8_192, probes, fingerprint=HERE)

    assert status_of(probes, limits) is Status.TESTING
