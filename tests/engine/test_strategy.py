"""Bisection finds any hidden limit, and depends on nothing but what it was told."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.searching import assert_repeatable, ended
from lmstrix.engine.strategy import (
    Bisect,
    SearchSpace,
    Strategy,
    most_probes,
    open_strategy,
)
from lmstrix.errors import RequestError
from lmstrix.values import Outcome, Probe

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
TOKENS = st.integers(1, 1 << 20)
SPACES = st.builds(
    SearchSpace,
    ceiling=TOKENS,
    granularity=st.integers(1, 8_192),
    threshold=TOKENS,
    floor=st.integers(1, 8_192),
    first=st.none() | TOKENS,
)
NEUTRAL = [outcome for outcome in Outcome if outcome is not Outcome.PASSED and not outcome.refutes]


def play(strategy: Strategy, hidden: int) -> list[Probe]:
    """Search where `hidden` tokens are the most that works; return the probes made."""
    probes: list[Probe] = []
    while (context := strategy.next_context()) is not None:
        assert not strategy.stopped_because
        assert len(probes) < 100, "the search does not end"
        probes.append(
            ended(context, Outcome.PASSED if context <= hidden else Outcome.OUT_OF_MEMORY)
        )
        strategy.tell(probes[-1])
    assert strategy.stopped_because
    return probes


@given(space=SPACES, hidden=st.integers(0, 1 << 21))
def test_search_brackets_any_hidden_limit_to_within_the_granularity(
    space: SearchSpace, hidden: int
) -> None:
    """What the search says works was seen to, and what it says fails was seen to."""
    probes = play(Bisect(space), hidden)

    passed = max((probe.requested for probe in probes if probe.passed), default=0)
    refuted = min((probe.requested for probe in probes if not probe.passed), default=None)
    if refuted is None:
        assert passed == space.ceiling
    elif passed:
        assert passed <= hidden < refuted <= passed + space.granularity
    else:
        assert hidden < refuted == min(space.start, space.first or space.start)


@given(space=SPACES, hidden=st.integers(0, 1 << 21))
def test_search_takes_no_more_probes_than_were_forecast(space: SearchSpace, hidden: int) -> None:
    """The forecast is a promise, and grows with the logarithm of what there is to search."""
    probes = play(Bisect(space), hidden)

    assert len(probes) <= most_probes(space)
    assert most_probes(space) <= 2 * (space.ceiling // space.granularity + 2).bit_length() + 3


@given(space=SPACES, hidden=st.integers(0, 1 << 21))
def test_nothing_above_the_threshold_is_asked_for_before_one_that_large_has_passed(
    space: SearchSpace, hidden: int
) -> None:
    """The threshold is what keeps a first probe from taking the machine down."""
    largest = 0
    for probe in play(Bisect(space), hidden):
        assert probe.requested <= max(space.threshold, largest and space.ceiling)
        if probe.passed and probe.requested >= space.threshold:
            largest = probe.requested


@given(space=SPACES, hidden=st.integers(0, 1 << 21))
def test_no_context_is_asked_for_twice(space: SearchSpace, hidden: int) -> None:
    """A probe costs a load; the answer is known."""
    asked = [probe.requested for probe in play(Bisect(space), hidden)]

    assert len(asked) == len(set(asked))
    assert all(1 <= context <= space.ceiling for context in asked)


@given(space=SPACES, hidden=st.integers(0, 1 << 21), data=st.data())
def test_replaying_any_prefix_of_a_history_goes_on_as_the_search_did(
    space: SearchSpace, hidden: int, data: st.DataObject
) -> None:
    """This is what lets a search be resumed from the registry after a crash."""
    probes = play(Bisect(space), hidden)
    known = data.draw(st.integers(0, len(probes)))

    resumed = Bisect(space)
    for probe in probes[:known]:
        resumed.tell(probe)

    assert play(resumed, hidden) == probes[known:]


@given(
    space=SPACES,
    history=st.lists(
        st.builds(ended, st.integers(1, 1 << 14), st.sampled_from(Outcome)), max_size=12
    ),
)
def test_any_history_leads_to_the_same_sound_next_step(
    space: SearchSpace, history: list[Probe]
) -> None:
    """A registry may hold contradictions: what works today did not yesterday."""
    assert_repeatable(lambda: Bisect(space), history, space.ceiling)


@pytest.mark.parametrize("outcome", NEUTRAL)
def test_outcome_that_decides_nothing_ends_the_search_and_is_named(outcome: Outcome) -> None:
    """Asking on would repeat it, and halving on it would invent a limit."""
    strategy = Bisect(SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536))
    strategy.tell(ended(4_096))

    strategy.tell(ended(34_816, outcome, effective=8_192))

    assert strategy.next_context() is None
    said = "8,192 tokens instead" if outcome is Outcome.RESIZED else f"nothing ({outcome}"
    assert said in strategy.stopped_because


def test_failure_at_the_floor_ends_the_search_at_once() -> None:
    """A model that does not load at 4 096 tokens has another trouble than its context."""
    probes = play(
        Bisect(SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536)), hidden=4_095
    )

    assert [probe.requested for probe in probes] == [4_096]


def test_first_context_is_asked_for_first_and_spares_the_rest_if_it_is_the_ceiling() -> None:
    """To confirm what is expected takes one probe."""
    space = SearchSpace(ceiling=30_000, granularity=1_024, threshold=30_000, first=30_000)

    assert [probe.requested for probe in play(Bisect(space), hidden=30_000)] == [30_000]
    assert [probe.requested for probe in play(Bisect(space), hidden=29_999)][:2] == [30_000, 4_096]


def test_ceiling_off_the_grid_is_found() -> None:
    """A declared limit is rarely a multiple of anything, and it is the one that matters most."""
    probes = play(
        Bisect(SearchSpace(ceiling=5_001, granularity=1_024, threshold=102_400)), hidden=9_999
    )

    assert probes[-1].requested == 5_001


def test_later_failure_outweighs_an_earlier_pass() -> None:
    """Memory that was there yesterday is not there today."""
    strategy = Bisect(SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536))
    for probe in (ended(4_096), ended(32_768), ended(16_384, Outcome.CRASHED)):
        strategy.tell(probe)

    context = strategy.next_context()

    assert context is not None
    assert 4_096 < context < 16_384


def test_later_pass_outweighs_an_earlier_failure() -> None:
    """Memory that was taken yesterday is free today."""
    strategy = Bisect(SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536))
    for probe in (ended(8_192, Outcome.OUT_OF_MEMORY), ended(16_384)):
        strategy.tell(probe)

    context = strategy.next_context()

    assert context is not None
    assert context > 16_384


def test_unknown_strategy_is_refused_with_those_there_are() -> None:
    """A name that is passed over in silence would measure something else."""
    with pytest.raises(RequestError, match="unknown strategy: `guess`") as refusal:
        open_strategy("guess", SearchSpace(ceiling=1, granularity=1, threshold=1))

    assert "`bisect`" in (refusal.value.hint or "")


@pytest.mark.parametrize("field", ["ceiling", "granularity", "threshold", "floor", "first"])
def test_search_space_without_tokens_is_refused(field: str) -> None:
    """A granularity of 0 would divide by it."""
    sound: dict[str, Any] = {"ceiling": 1, "granularity": 1, "threshold": 1, "floor": 1, "first": 1}

    with pytest.raises(RequestError):
        SearchSpace(**{**sound, field: 0})
