"""Whatever the limit, the memory law and the mishaps: what every careful strategy keeps to."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.searching import CAREFUL, TOKENS, Law, assert_repeatable, ended, guided, play, standing
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.memory import MemoryLine, Reading, reading_noise
from lmstrix.engine.strategy import SearchSpace, most_probes, open_strategy
from lmstrix.ports import Prior
from lmstrix.values import Outcome, Probe

NAMES = st.sampled_from(CAREFUL)
MISHAPS = st.sampled_from(
    [Outcome.CRASHED, Outcome.TIMED_OUT, Outcome.WRONG_ANSWER, Outcome.NO_ANSWER]
)


class Mishaps:
    """Loads by a law, some of which fail for no reason."""

    def __init__(self, law: Law, failing: dict[int, Outcome], *, readable: bool) -> None:
        self.probe_number = 0
        self._law, self._failing, self._readable = law, failing, readable

    def probe(self, context: int) -> Probe:
        """Load at `context`."""
        self.probe_number += 1
        probe = self._law.probe(context)
        if probe.passed and self.probe_number in self._failing:
            return ended(context, self._failing[self.probe_number])
        return probe if self._readable else probe.model_copy(update={"memory_bytes": None})


@st.composite
def searches(draw: st.DrawFn) -> tuple[str, SearchSpace, Callable[[], Mishaps], int]:
    """A strategy, its space, what answers it (from the start, each time), and the mishaps."""
    law, space = draw(guided())
    failing = draw(st.dictionaries(st.integers(1, 20), MISHAPS, max_size=6))
    readable = draw(st.booleans())
    name = draw(NAMES)
    return name, space, lambda: Mishaps(law, failing, readable=readable), len(failing)


@given(search=searches())
@settings(max_examples=300)
def test_what_is_reported_was_passed_and_nothing_refuted_is_claimed(
    search: tuple[str, SearchSpace, Callable[[], Mishaps], int],
) -> None:
    """A limit is evidence, whatever crashed for no reason on the way.

    It may be above what no failure at all speaks against: one that nothing smaller has survived is
    no matter of size.
    """
    name, space, answer, _ = search

    probes = play(open_strategy(name, space), answer().probe)

    limits = derive_limits(None, probes, fingerprint=None)
    assert (limits.usable or 0) >= standing(probes)
    assert limits.usable in {None, *(probe.requested for probe in probes if probe.passed)}
    assert limits.refuted is None or (limits.usable or 0) < limits.refuted


@given(search=searches())
@settings(max_examples=300)
def test_search_ends_within_its_forecast_and_what_mishaps_cost(
    search: tuple[str, SearchSpace, Callable[[], Mishaps], int],
) -> None:
    """A mishap costs a few loads: a re-check, or, told twice, a stretch that is searched again."""
    name, space, answer, mishaps = search

    probes = play(open_strategy(name, space), answer().probe)

    untold = replace(space, budget_bytes=None)  # as good as that, where memory is not told
    most = max(most_probes(space, name), most_probes(untold, name))
    assert len(probes) <= most + 2 + 6 * mishaps


@given(search=guided(), name=NAMES)
@settings(max_examples=300)
def test_search_takes_no_more_probes_than_were_forecast(
    search: tuple[Law, SearchSpace], name: str
) -> None:
    """The forecast is a promise, as long as memory keeps to its law."""
    law, space = search

    assert len(play(open_strategy(name, space), law.probe)) <= most_probes(space, name)


@given(search=searches(), data=st.data())
def test_replaying_any_prefix_goes_on_as_the_search_did(
    search: tuple[str, SearchSpace, Callable[[], Mishaps], int], data: st.DataObject
) -> None:
    """This is what lets a search be resumed from the registry after a crash."""
    name, space, answer, _ = search
    probes = play(open_strategy(name, space), answer().probe)
    known = data.draw(st.integers(0, len(probes)))
    resumed = open_strategy(name, space)
    for probe in probes[:known]:
        resumed.tell(probe)

    rest = iter(probes[known:])

    assert play(resumed, lambda _: next(rest)) == probes[known:]


@given(search=searches())
def test_nothing_above_the_threshold_is_asked_for_before_memory_was_measured(
    search: tuple[str, SearchSpace, Callable[[], Mishaps], int],
) -> None:
    """Two loads of different sizes, or, where memory is not told, a pass at the threshold."""
    name, space, answer, _ = search
    measured: set[int] = set()
    largest = 0
    for probe in play(open_strategy(name, space), answer().probe):
        lifted = len(measured) > 1 if measured else largest >= space.threshold
        assert probe.requested <= (space.ceiling if lifted else space.threshold)
        if probe.passed:
            largest = max(largest, probe.requested)
            measured |= {probe.requested} if probe.memory_bytes is not None else set()


@given(search=guided(), name=st.sampled_from(["certify", "climb"]))
@settings(max_examples=300)
def test_no_probe_is_predicted_to_take_more_than_the_budget(
    search: tuple[Law, SearchSpace], name: str
) -> None:
    """Tokens do not freeze a machine, bytes do; a prediction is all there is to go by."""
    law, space = search
    noise = reading_noise(law.budget)
    readings: list[Reading] = []

    for probe in play(open_strategy(name, space), law.probe):
        line = MemoryLine.fit(readings, noise_bytes=noise, prior=space.prior)
        if line is not None:
            assert line.predict(probe.requested) <= law.budget * (1 + 1e-9)
        if probe.memory_bytes is not None:
            readings.append(Reading(probe.requested, probe.memory_bytes))


@given(search=guided())
@settings(max_examples=300)
def test_certify_fails_once_at_most_where_the_prior_is_within_its_errors(
    search: tuple[Law, SearchSpace],
) -> None:
    """Below its prediction there is little to fail, and one failure is told from the next."""
    law, space = search
    if space.prior is None or law.limit < space.start:
        return

    probes = play(open_strategy("certify", space), law.probe)

    assert sum(not probe.passed for probe in probes) <= 1


@given(search=guided())
@settings(max_examples=300)
def test_exact_finds_the_limit_of_an_exact_law_to_the_granularity(
    search: tuple[Law, SearchSpace],
) -> None:
    """That is its one promise; a failing load is no longer needed where none could pass."""
    law, space = search
    reachable = min(law.limit, space.ceiling)

    found = standing(play(open_strategy("exact", space), law.probe))

    if found:
        assert found <= reachable < found + space.granularity + (found == space.ceiling)
    else:
        prior = space.prior or Prior(bytes_per_token=0)
        least = (prior.fixed_bytes or 0) + prior.bytes_per_token * space.grain
        assert law.limit < space.start or least > law.budget


@given(
    name=NAMES,
    search=guided(),
    history=st.lists(
        st.builds(
            ended,
            st.integers(1, 1 << 14),
            st.sampled_from(Outcome),
            taken=st.none() | st.integers(0, 1 << 40),
        ),
        max_size=12,
    ),
)
@settings(max_examples=300)
def test_any_history_leads_to_the_same_sound_next_step(
    name: str, search: tuple[Law, SearchSpace], history: list[Probe]
) -> None:
    """A registry may hold contradictions: what works today did not yesterday."""
    _, space = search
    assert_repeatable(lambda: open_strategy(name, space), history, space.ceiling)


@given(name=NAMES, hidden=TOKENS, ceiling=TOKENS)
def test_without_a_budget_or_readings_the_search_still_ends_at_a_pass(
    name: str, hidden: int, ceiling: int
) -> None:
    """A runtime elsewhere tells neither; then growth is bounded and the first failure the end."""
    space = SearchSpace(ceiling=ceiling, granularity=1_024, threshold=102_400)

    def answer(context: int) -> Probe:
        return ended(context, Outcome.PASSED if context <= hidden else Outcome.OUT_OF_MEMORY)

    probes = play(open_strategy(name, space), answer)

    found = standing(probes)
    assert found <= hidden
    assert found >= min(ceiling, hidden) / 1.5 - 256 or hidden < space.start
    if name != "exact":
        assert sum(not probe.passed for probe in probes) <= 1


@pytest.mark.parametrize("name", CAREFUL)
@pytest.mark.parametrize(
    "outcome", [kind for kind in Outcome if kind is not Outcome.PASSED and not kind.refutes]
)
def test_outcome_that_decides_nothing_ends_the_search_and_is_named(
    name: str, outcome: Outcome
) -> None:
    """Asking on would repeat it, and going on from it would invent a limit."""
    strategy = open_strategy(name, SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536))
    strategy.tell(ended(4_096))

    strategy.tell(ended(6_144, outcome, effective=4_096))

    assert strategy.next_context() is None
    said = "4,096 tokens instead" if outcome is Outcome.RESIZED else f"nothing ({outcome}"
    assert said in strategy.stopped_because
