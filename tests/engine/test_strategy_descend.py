"""Going down from a window that is expected to pass: few probes, each of which is dear."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.searching import TOKENS, assert_repeatable, ended, play, standing
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.strategy import Descend, SearchSpace, most_to_descend
from lmstrix.values import Outcome, Probe

SPACE = SearchSpace(ceiling=32_768, granularity=1_024, threshold=32_768)
REFUTING = [outcome for outcome in Outcome if outcome.refutes]
AT_ONCE = [Outcome.OUT_OF_MEMORY, Outcome.INTERRUPTED]


def holding(
    limit: int, outcome: Outcome = Outcome.OUT_OF_MEMORY, *, confirmed: bool = False
) -> Callable[[int], Probe]:
    """Return probes of which those above `limit` end so."""

    def probe(context: int) -> Probe:
        failed = ended(context, outcome).model_copy(update={"confirmed": confirmed})
        return ended(context) if context <= limit else failed

    return probe


def asked(strategy: Descend, answer: Callable[[int], Probe]) -> list[int]:
    """Return the contexts that the strategy asks for, in order."""
    return [probe.requested for probe in play(strategy, answer)]


@st.composite
def descents(draw: st.DrawFn) -> tuple[SearchSpace, int]:
    """A space, and a limit: often a little below the ceiling, sometimes anywhere or nowhere."""
    ceiling = draw(TOKENS)
    space = SearchSpace(
        ceiling=ceiling,
        granularity=draw(st.integers(1, 8_192)),
        threshold=draw(TOKENS),
        floor=draw(st.integers(1, 8_192)),
    )
    return space, ceiling - draw(st.integers(-1, 1 << 20))


@given(search=descents(), outcome=st.sampled_from(REFUTING), thorough=st.booleans())
@settings(max_examples=300)
def test_descent_brackets_any_hidden_limit(
    search: tuple[SearchSpace, int], outcome: Outcome, *, thorough: bool
) -> None:
    """What passed is near what failed: to the granularity, or to an eighth where that will do."""
    space, hidden = search
    probes = play(Descend(space, thorough=thorough), holding(hidden, outcome))

    limits = derive_limits(None, probes, fingerprint=None)
    assert probes[0].requested == space.ceiling
    if limits.refuted is None and limits.usable is None:
        assert hidden < space.start  # nothing works at all, which is no matter of size
    elif limits.refuted is None:
        assert limits.usable == space.ceiling <= hidden
    elif limits.usable is None:
        assert hidden < limits.refuted <= space.start
    else:
        near = max(space.granularity, 0 if thorough else limits.refuted // 8)
        assert limits.usable <= hidden < limits.refuted <= limits.usable + near
    assert (limits.usable or 0) == standing(probes)


@given(search=descents(), outcome=st.sampled_from(REFUTING), thorough=st.booleans())
@settings(max_examples=300)
def test_descent_takes_no_more_probes_than_were_forecast(
    search: tuple[SearchSpace, int], outcome: Outcome, *, thorough: bool
) -> None:
    """The forecast is a promise, whatever the failure; memory needs a third of it."""
    space, hidden = search
    most = most_to_descend(space)

    probes = play(Descend(space, thorough=thorough), holding(hidden, outcome))

    assert len(probes) <= most
    if outcome in AT_ONCE:
        assert len(probes) <= 1 + most // 3
        assert len({probe.requested for probe in probes}) == len(probes)


@given(search=descents(), outcome=st.sampled_from(REFUTING), data=st.data())
def test_replaying_any_prefix_of_a_descent_goes_on_as_it_did(
    search: tuple[SearchSpace, int], outcome: Outcome, data: st.DataObject
) -> None:
    """This is what lets a search be resumed from the registry after a crash."""
    space, hidden = search
    probes = play(Descend(space), holding(hidden, outcome))
    known = data.draw(st.integers(0, len(probes)))
    resumed = Descend(space)
    for probe in probes[:known]:
        resumed.tell(probe)

    assert play(resumed, holding(hidden, outcome)) == probes[known:]


@given(
    search=descents(),
    history=st.lists(
        st.builds(ended, st.integers(1, 1 << 14), st.sampled_from(Outcome)), max_size=12
    ),
    thorough=st.booleans(),
)
@settings(max_examples=300)
def test_any_history_leads_to_the_same_sound_next_step(
    search: tuple[SearchSpace, int], history: list[Probe], *, thorough: bool
) -> None:
    """A registry may hold contradictions: what works today did not yesterday."""
    space, hidden = search
    assert_repeatable(lambda: Descend(space, thorough=thorough), history, space.ceiling)
    one = Descend(space, thorough=thorough)
    for probe in history:
        one.tell(probe)
    play(one, holding(hidden))


@given(search=descents(), flaky=st.sets(st.integers(0, 20)))
def test_mishaps_on_the_way_down_refute_nothing(
    search: tuple[SearchSpace, int], flaky: set[int]
) -> None:
    """A failure for no reason does not come back when that size is tried again."""
    space, hidden = search
    tried: list[int] = []

    def answer(context: int) -> Probe:
        first = context not in tried
        tried.append(context)
        if first and context <= hidden and len(set(tried)) in flaky:
            return ended(context, Outcome.CRASHED)
        return holding(hidden)(context)

    limits = derive_limits(None, play(Descend(space), answer), fingerprint=None)

    assert limits.refuted is None or limits.refuted > hidden
    assert limits.usable is not None or hidden < space.start


def test_near_miss_costs_one_window_more() -> None:
    """Filling takes a little more memory than answering; halving would fill windows for nothing."""
    assert asked(Descend(SPACE), holding(32_000)) == [32_768, 31_744]


def test_steps_down_double_and_the_first_pass_near_the_failure_ends_the_search() -> None:
    """To find 1 024 tokens more takes another whole window, and few would miss them."""
    strategy = Descend(SPACE)

    assert asked(strategy, holding(30_000)) == [32_768, 31_744, 30_720, 28_672]
    assert strategy.stopped_because == "28,672 tokens passed, 30,720 tokens failed: out-of-memory"


def test_thorough_descent_goes_on_to_the_granularity() -> None:
    """Who asked for the exact limit waits for it."""
    strategy = Descend(SPACE, thorough=True)

    assert asked(strategy, holding(30_000)) == [32_768, 31_744, 30_720, 28_672, 29_696]


def test_pass_far_below_the_failure_is_followed_up() -> None:
    """A third given away is worth another window."""
    contexts = asked(Descend(SPACE), holding(14_000))

    assert contexts[:6] == [32_768, 31_744, 30_720, 28_672, 24_576, 16_384]
    assert contexts[6:] == [4_096, 10_240, 13_312, 15_360, 14_336]


@pytest.mark.parametrize("outcome", [kind for kind in REFUTING if kind not in AT_ONCE])
def test_doubtful_window_is_tried_again_once_a_small_one_has_worked(outcome: Outcome) -> None:
    """The server may have gone bad; a small window shows that as well as a whole one."""
    contexts = asked(Descend(SPACE), holding(32_000, outcome))

    assert contexts == [32_768, 4_096, 32_768, 31_744]


def test_small_window_serves_to_recheck_even_after_a_large_one_has_passed() -> None:
    """It takes seconds, the large one minutes to hours."""
    contexts = asked(Descend(SPACE, thorough=True), holding(30_000, Outcome.TOO_SLOW))

    assert contexts[-2:] == [28_672, 29_696]
    assert contexts.count(4_096) == 3
    strategy = Descend(SPACE, thorough=True)
    for probe in (*map(holding(28_672), contexts[:-1]), ended(29_696, Outcome.TOO_SLOW)):
        strategy.tell(probe)
    assert strategy.next_context() == 4_096


def test_doubt_that_does_not_come_back_leaves_the_window_proven() -> None:
    """Evidence that is not monotone is told, not averaged."""
    strategy = Descend(SPACE)
    for probe in (ended(32_768, Outcome.CRASHED), ended(4_096), ended(32_768)):
        strategy.tell(probe)

    assert strategy.next_context() is None
    assert strategy.stopped_because == (
        "32,768 tokens passed, and there is nothing larger to try; "
        "32,768 tokens failed before 32,768 passed"
    )


def test_failure_that_its_probe_confirmed_counts_at_once() -> None:
    """It was seen twice in one load; two more would show nothing new."""
    contexts = asked(Descend(SPACE), holding(32_000, Outcome.WRONG_ANSWER, confirmed=True))

    assert contexts == [32_768, 31_744]


def test_model_that_fails_at_the_floor_is_given_up_after_two_attempts() -> None:
    """Where nothing works, the size is not what decides."""
    strategy = Descend(SPACE)

    assert asked(strategy, holding(0, Outcome.WRONG_ANSWER)) == [32_768, 4_096, 4_096]
    assert strategy.stopped_because == "4,096 tokens failed: wrong-answer"


def test_probe_that_decides_nothing_ends_the_descent() -> None:
    """Asking on would repeat it."""
    strategy = Descend(SPACE)
    strategy.tell(ended(32_768, Outcome.UNAVAILABLE))

    assert strategy.next_context() is None
    assert "decided nothing (unavailable" in strategy.stopped_because


@pytest.mark.parametrize(
    ("earlier", "onward"),
    [
        ([ended(40_000, Outcome.CRASHED), ended(4_096)], 32_768),
        ([ended(size, Outcome.OUT_OF_MEMORY) for size in (40_000, 36_000, 32_768)], 31_744),
        ([ended(size, Outcome.OUT_OF_MEMORY) for size in (32_768, 20_000)], 18_432),
    ],
)
def test_earlier_failures_elsewhere_do_not_lead_the_descent_astray(
    earlier: list[Probe], onward: int
) -> None:
    """A broken-off search is taken up with all that it saw, beyond this ceiling or far below."""
    strategy = Descend(SPACE)
    for probe in earlier:
        strategy.tell(probe)

    assert strategy.next_context() == onward
