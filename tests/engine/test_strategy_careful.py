"""How the careful strategies go, step by step."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from engine.searching import CAREFUL, Law, ended, play, standing
from lmstrix.engine.strategy import SearchSpace, Strategy, most_probes, open_strategy
from lmstrix.ports import Prior
from lmstrix.values import Outcome, Probe

LAW = Law(fixed=8 << 30, per_token=128 << 10, budget=16 << 30)  # the limit: 65 536 tokens
SPACE = SearchSpace(
    ceiling=131_072,
    granularity=1_024,
    threshold=131_072,
    budget_bytes=LAW.budget,
    prior=Prior(bytes_per_token=LAW.per_token),
)
UNTOLD = replace(SPACE, budget_bytes=None, prior=None)


def asked(probes: list[Probe]) -> list[int]:
    """Return the contexts probed, in order."""
    return [probe.requested for probe in probes]


def silent(limit: int) -> Callable[[int], Probe]:
    """Return loads that tell no memory."""
    return lambda context: ended(
        context, Outcome.PASSED if context <= limit else Outcome.OUT_OF_MEMORY
    )


def after(strategy: Strategy, *probes: Probe) -> int | None:
    """Return where `strategy` goes once it was told `probes`."""
    for probe in probes:
        strategy.tell(probe)
    return strategy.next_context()


def test_certify_measures_below_the_prior_then_goes_close_to_the_limit() -> None:
    """Three loads, none of which fails, and a twentieth given away at most."""
    probes = play(open_strategy("certify", SPACE), LAW.probe)

    assert asked(probes)[0] == 4_096
    assert 0.5 * LAW.limit < asked(probes)[1] < 0.75 * LAW.limit
    assert all(probe.passed for probe in probes)
    assert len(probes) <= 4
    assert standing(probes) >= 0.95 * LAW.limit


def test_certify_asks_for_the_declared_limit_at_once_where_there_is_room_to_spare() -> None:
    """One passing probe there is the whole proof."""
    space = replace(SPACE, ceiling=30_001)

    assert asked(play(open_strategy("certify", space), LAW.probe)) == [4_096, 30_001]


def test_certify_without_a_prior_measures_with_a_bounded_step() -> None:
    """Two loads near each other measure badly, but every further one does better."""
    probes = play(open_strategy("certify", replace(SPACE, prior=None)), LAW.probe)

    assert asked(probes)[:2] == [4_096, 6_144]
    assert all(probe.passed for probe in probes)
    assert len(probes) <= 5
    assert standing(probes) >= 0.94 * LAW.limit


def test_certify_steps_back_from_a_failure_and_ends_at_the_first_pass_near_it() -> None:
    """The machine holds less than its budget says; one mild failure must be enough to learn it."""
    crowded = replace(LAW, budget=15 << 30)

    probes = play(open_strategy("certify", SPACE), crowded.probe)

    failed = [probe.requested for probe in probes if not probe.passed]
    assert len(failed) == 1
    assert crowded.takes(failed[0]) < 1.05 * crowded.budget
    assert failed[0] > standing(probes) >= 7 / 8 * failed[0] - SPACE.granularity


@pytest.mark.parametrize("name", ["certify", "exact"])
def test_line_that_bends_at_the_window_does_not_hold_the_search_back(name: str) -> None:
    """The second load is beyond the window, the line through it and the first too steep."""

    def takes(context: int) -> int:
        return (8 << 30) + (256 << 10) * min(context, 8_192) + (32 << 10) * context

    def answer(context: int) -> Probe:
        fits = takes(context) <= LAW.budget
        return ended(context, taken=takes(context)) if fits else silent(0)(context)

    space = replace(SPACE, ceiling=1 << 20, threshold=1 << 20)
    limit = ((8 << 30) - (256 << 10) * 8_192) // (32 << 10)

    probes = play(open_strategy(name, replace(space, prior=None)), answer)

    assert 0.95 * limit < standing(probes) <= limit
    assert len(probes) <= 10


def test_exact_ends_where_the_next_granule_fails_or_could_not_fit() -> None:
    """A bracket is two ends, and the upper one need not be paid for where memory excludes it."""
    strategy = open_strategy("exact", SPACE)

    probes = play(strategy, LAW.probe)

    assert LAW.limit - 1_024 < standing(probes) <= LAW.limit
    assert len(probes) <= 7
    assert "tokens passed" in strategy.stopped_because


def test_climb_grows_by_half_and_stops_at_the_first_failure() -> None:
    """Without readings the next step is all that is risked."""
    strategy = open_strategy("climb", UNTOLD)

    probes = play(strategy, silent(25_000))

    assert asked(probes) == [4_096, 6_144, 9_216, 13_824, 20_736, 30_976]
    assert strategy.stopped_because == "20,736 tokens passed, 30,976 tokens failed: out-of-memory"


def test_certify_climbs_where_memory_is_not_told() -> None:
    """A runtime elsewhere tells none, and a prior alone is no measurement."""
    told = play(open_strategy("certify", SPACE), silent(25_000))

    assert asked(told) == asked(play(open_strategy("climb", UNTOLD), silent(25_000)))


def test_exact_climbs_then_halves_where_memory_is_not_told() -> None:
    """It promises the granularity, with or without readings."""
    probes = play(open_strategy("exact", UNTOLD), silent(25_000))

    assert 25_000 - 1_024 < standing(probes) <= 25_000
    assert asked(probes)[:6] == asked(play(open_strategy("climb", UNTOLD), silent(25_000)))


def test_budget_caps_the_climb_by_what_the_prior_predicts() -> None:
    """Where nothing is measured, an estimate is what keeps the next step from the edge."""
    prior = Prior(bytes_per_token=LAW.per_token, fixed_bytes=LAW.fixed)

    probes = play(open_strategy("climb", replace(SPACE, prior=prior)), silent(1 << 20))

    assert max(asked(probes)) == LAW.limit


def test_climb_does_not_creep_towards_what_the_budget_leaves() -> None:
    """Each load moves the prediction by a few tokens, and none of them is worth another load."""
    law = Law(fixed=357_280_000_000, per_token=303_552, budget=505_617_633_111)
    space = replace(
        SPACE,
        ceiling=780_244,
        threshold=591_612,
        floor=2_531,
        granularity=1,
        budget_bytes=law.budget,
        prior=Prior(bytes_per_token=1.4 * law.per_token),
    )

    probes = play(open_strategy("climb", space), law.probe)

    assert len(probes) <= most_probes(space, "climb")


def test_certify_takes_the_declared_limit_however_near_it_is() -> None:
    """It is the one size that everyone asks for."""
    strategy = open_strategy("certify", replace(SPACE, ceiling=50_003))

    known = [ended(size, taken=LAW.takes(size)) for size in (4_096, 49_920)]

    assert after(strategy, *known) == 50_003


@pytest.mark.parametrize("name", ["certify", "exact"])
def test_load_that_tells_no_memory_ends_the_guidance(name: str) -> None:
    """The line says nothing of what passed beyond it."""
    strategy = open_strategy(name, replace(SPACE, granularity=256))

    known = [ended(size, taken=LAW.takes(size)) for size in (4_096, 8_192)]

    assert after(strategy, *known, ended(10_240)) == 15_360


def test_threshold_holds_until_two_loads_have_measured_what_is_above() -> None:
    """Then the line may clear it at once: no load has to be made at the threshold itself."""
    space = replace(SPACE, threshold=20_000)

    probes = play(open_strategy("certify", space), LAW.probe)

    assert asked(probes)[:2] == [4_096, 20_000]
    assert asked(probes)[2] > 0.8 * LAW.limit


def test_threshold_at_the_floor_is_measured_from_below() -> None:
    """A second load has nowhere else to go, and without it nothing above could be cleared."""
    space = replace(SPACE, threshold=4_096)

    probes = play(open_strategy("certify", space), LAW.probe)

    assert asked(probes)[:2] == [4_096, 2_048]
    assert standing(probes) > 0.8 * LAW.limit


@pytest.mark.parametrize("name", CAREFUL)
def test_model_predicted_to_exceed_the_budget_is_not_probed_at_all(name: str) -> None:
    """A load that cannot fit is a risk without a reward."""
    prior = Prior(bytes_per_token=1_000, fixed_bytes=17 << 30)
    strategy = open_strategy(name, replace(SPACE, prior=prior))

    assert strategy.next_context() is None
    assert "memory budget" in strategy.stopped_because


@pytest.mark.parametrize("name", CAREFUL)
def test_first_context_is_asked_for_first_and_spares_the_rest_if_it_is_the_ceiling(
    name: str,
) -> None:
    """To confirm what is expected takes one load."""
    space = replace(SPACE, ceiling=60_001, first=60_001)

    assert asked(play(open_strategy(name, space), LAW.probe)) == [60_001]


@pytest.mark.parametrize("name", CAREFUL)
def test_crash_is_confirmed_by_a_size_that_works_and_then_counts(name: str) -> None:
    """A server that has gone bad fails at every size; the failing one must not take the blame."""
    strategy = open_strategy(name, UNTOLD)
    crash = ended(6_144, Outcome.CRASHED)

    assert after(strategy, ended(4_096), crash) == 4_096
    assert after(strategy, ended(4_096)) == 6_144
    after(strategy, crash)
    if name == "exact":
        assert after(strategy) == 5_120
    else:
        assert strategy.stopped_because == "4,096 tokens passed, 6,144 tokens failed: crashed"


@pytest.mark.parametrize("name", CAREFUL)
def test_crash_that_does_not_come_back_is_reported_and_costs_nothing_else(name: str) -> None:
    """Evidence that is not monotone is told, not averaged."""
    strategy = open_strategy(name, UNTOLD)
    for probe in (ended(4_096), ended(6_144, Outcome.CRASHED), ended(4_096), ended(6_144)):
        strategy.tell(probe)

    probes = play(strategy, silent(8_000))

    assert asked(probes)[0] == 9_216
    assert strategy.stopped_because.endswith("; 6,144 tokens failed before 6,144 passed")


@pytest.mark.parametrize("outcome", [Outcome.OUT_OF_MEMORY, Outcome.INTERRUPTED])
def test_memory_and_interruption_count_at_once(outcome: Outcome) -> None:
    """To try again what froze the machine would be to freeze it again."""
    strategy = open_strategy("climb", UNTOLD)

    assert after(strategy, ended(4_096), ended(6_144, outcome)) is None


def test_failure_that_its_probe_confirmed_is_not_confirmed_again() -> None:
    """Each confirmation costs two loads."""
    strategy = open_strategy("climb", UNTOLD)
    crash = ended(6_144, Outcome.CRASHED).model_copy(update={"confirmed": True})

    assert after(strategy, ended(4_096), crash) is None
    assert strategy.stopped_because == "4,096 tokens passed, 6,144 tokens failed: crashed"


def test_first_load_that_crashes_is_tried_once_more() -> None:
    """There is no size that works to show; a second failure is of the model, not of its context."""
    strategy = open_strategy("certify", SPACE)

    assert after(strategy, ended(4_096, Outcome.CRASHED)) == 4_096
    assert after(strategy, ended(4_096, Outcome.CRASHED)) is None
    assert strategy.stopped_because == "4,096 tokens failed: crashed"


def test_size_that_worked_and_fails_in_the_recheck_is_checked_in_its_turn() -> None:
    """By the next smaller one; what then fails twice is what the search goes on below."""
    strategy = open_strategy("climb", UNTOLD)
    crashed = Outcome.CRASHED

    assert after(strategy, ended(4_096), ended(6_144), ended(9_216, crashed)) == 6_144
    assert after(strategy, ended(6_144, crashed)) == 4_096
    assert after(strategy, ended(4_096)) == 6_144
    assert after(strategy, ended(6_144, crashed)) is None
    assert strategy.stopped_because == (
        "4,096 tokens passed, 6,144 tokens failed: crashed; 6,144 tokens passed before 6,144 failed"
    )


def test_failure_that_has_nothing_to_do_with_memory_is_bracketed_all_the_same() -> None:
    """A model may stop making sense long before memory ends; the line sees no limit there."""

    def answer(context: int) -> Probe:
        return LAW.probe(context) if context <= 10_000 else ended(context, Outcome.WRONG_ANSWER)

    exact = play(open_strategy("exact", SPACE), answer)
    certified = play(open_strategy("certify", SPACE), answer)

    assert 10_000 - 1_024 < standing(exact) <= 10_000
    assert 7 / 8 * 10_000 - 1_024 < standing(certified) <= 10_000
    assert max(len(exact), len(certified)) <= 24
