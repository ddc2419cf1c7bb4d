"""A line through measured loads predicts memory, and knows how well it does."""

from collections.abc import Sequence
from math import inf, isfinite

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lmstrix.engine.memory import (
    GIB,
    MemoryLine,
    Reading,
    reading_noise,
    reserve_bytes,
    spare_bytes,
)
from lmstrix.errors import RequestError
from lmstrix.ports import Accelerator, MachineMemory, Prior

BUDGET = 16 * GIB
NOISE = reading_noise(BUDGET)
CONTEXTS = st.integers(1, 1 << 20)
SLOPES = st.floats(1 << 8, 1 << 18)
FIXED = st.integers(0, BUDGET // 2)


def line_of(
    readings: Sequence[tuple[int, float]], prior: Prior | None = None, noise: float = NOISE
) -> MemoryLine:
    """Return the line through readings that define one."""
    line = MemoryLine.fit(
        [Reading(context, round(taken)) for context, taken in readings],
        noise_bytes=noise,
        prior=prior,
    )
    assert line is not None
    return line


@given(
    fixed=FIXED,
    slope=SLOPES,
    contexts=st.lists(CONTEXTS, min_size=2, max_size=6, unique=True),
    asked=CONTEXTS,
)
def test_line_through_exact_readings_is_the_law_behind_them(
    fixed: int, slope: float, contexts: list[int], asked: int
) -> None:
    """Wherever it is asked, between the readings or far beyond."""
    line = line_of([(context, fixed + slope * context) for context in contexts])

    rounding = 1 + abs(asked - max(contexts)) / (max(contexts) - min(contexts))
    assert line.measured
    assert line.predict(asked) == pytest.approx(fixed + slope * asked, rel=1e-6, abs=2 * rounding)


@given(
    readings=st.lists(st.builds(Reading, CONTEXTS, st.integers(0, BUDGET)), max_size=6),
    prior=st.none() | st.builds(Prior, bytes_per_token=SLOPES, fixed_bytes=st.none() | FIXED),
    budget=st.integers(1, 2 * BUDGET),
    z=st.floats(0.1, 4),
)
def test_cautious_limit_is_where_prediction_and_error_meet_the_budget(
    readings: list[Reading], prior: Prior | None, budget: int, z: float
) -> None:
    """Whatever was read: what it promises to fit, with `z` errors to spare, does by its own law."""
    line = MemoryLine.fit(readings, noise_bytes=NOISE, prior=prior)
    assume(line is not None)
    assert line is not None

    expected, cautious = line.limit(budget, z)

    assert cautious <= expected
    if isfinite(expected):
        assert line.predict(expected) == pytest.approx(budget, rel=1e-6, abs=1)
    if isfinite(cautious):
        bound = line.predict(cautious) + z * line.error(cautious)
        assert bound == pytest.approx(budget, rel=1e-4, abs=NOISE / 100)
    assert cautious >= line.limit(budget, z + 1).cautious


@given(fixed=FIXED, slope=SLOPES, low=CONTEXTS, high=CONTEXTS)
def test_chance_to_fit_falls_with_the_context_and_is_even_at_the_expected_limit(
    fixed: int, slope: float, low: int, high: int
) -> None:
    """A search divides by it, and so must be able to rely on its order."""
    assume(low < high)
    line = line_of([(low, fixed + slope * low), (high, fixed + slope * high)])
    budget = line.predict(2 * high)

    chances = [line.chance(high * part, budget) for part in (1.0, 1.5, 2.0, 2.5, 4.0)]

    assert chances == sorted(chances, reverse=True)
    assert chances[2] == pytest.approx(0.5)


def test_error_is_that_of_a_reading_at_the_reading_and_grows_away_from_it() -> None:
    """Half a per cent of the budget; as far again beyond two readings it is more than doubled."""
    line = line_of([(4_096, 8 * GIB), (65_536, 12 * GIB)])

    assert line.error(65_536) == pytest.approx(NOISE)
    assert line.error(2 * 65_536 - 4_096) == pytest.approx(NOISE * 5**0.5)
    assert line.error(35_000) < NOISE


def test_slope_is_that_of_the_end_where_memory_bends() -> None:
    """Below a sliding window a token takes more; what counts is what the next one takes."""
    readings = [(4_096, 4 * GIB), (8_192, 8 * GIB), (40_000, 9 * GIB), (72_000, 10 * GIB)]

    bent = line_of(readings)

    assert bent == line_of(readings[1:])
    assert bent.slope == pytest.approx(GIB / 32_000, rel=0.01)


def test_readings_that_scatter_within_their_error_all_count() -> None:
    """Dropping what does not agree must not drop what does."""
    off = [0.8, -0.9, 0.7, -0.8]
    readings = [
        (context, GIB + 65_536 * context + part * NOISE)
        for context, part in zip((10_000, 40_000, 70_000, 100_000), off, strict=True)
    ]

    line = line_of(readings)

    assert line.error(100_000) < line_of(readings[2:]).error(100_000)
    assert line.slope == pytest.approx(65_536, rel=0.02)


@given(order=st.permutations([(4_096, 4 * GIB), (9_000, 5 * GIB), (50_000, 14 * GIB)]))
def test_order_of_readings_does_not_matter(order: list[tuple[int, float]]) -> None:
    """A search that is resumed reads them back in another order than it made them."""
    assert line_of(order) == line_of(sorted(order))


def test_prior_gives_the_slope_until_two_contexts_are_read() -> None:
    """One load tells the level; the same load again tells it better, and still no slope."""
    prior = Prior(bytes_per_token=100_000, fixed_bytes=2 * GIB)

    guessed = line_of([], prior)
    once = line_of([(4_096, 5 * GIB)], prior)
    twice = line_of([(4_096, 5 * GIB)] * 2, prior)

    assert guessed.predict(0) == 2 * GIB
    assert once.predict(4_096) == pytest.approx(5 * GIB)
    assert once.slope == pytest.approx(100_000)
    assert twice.error(4_096) < once.error(4_096)
    assert {line.measured for line in (guessed, once, twice)} == {False}


def test_prior_and_readings_are_weighted_by_how_sure_they_are() -> None:
    """Two loads near each other measure a slope badly, and the prior then says more."""
    prior = Prior(bytes_per_token=100_000)

    def slope(high: int) -> float:
        return line_of([(4_096, GIB), (high, GIB + 120_000 * (high - 4_096))], prior).slope

    assert slope(4_196) == pytest.approx(100_000, rel=0.01)
    assert slope(400_000) == pytest.approx(120_000, rel=0.01)
    assert 100_000 < slope(8_192) < slope(16_384) < 120_000


def test_prior_far_from_what_is_measured_is_dropped() -> None:
    """It left something out, and would pull the line towards a limit that is not there."""
    readings = [(4_096, 2 * GIB), (20_000, 3 * GIB)]

    assert line_of(readings, Prior(bytes_per_token=2_000)) == line_of(readings)


@pytest.mark.parametrize("readings", [[], [Reading(4_096, GIB)], [Reading(4_096, GIB)] * 2])
def test_without_a_prior_fewer_than_two_contexts_define_no_line(readings: list[Reading]) -> None:
    """A slope made up would be taken for a measured one."""
    assert MemoryLine.fit(readings, noise_bytes=NOISE) is None


def test_prior_without_the_fixed_part_defines_no_line_by_itself() -> None:
    """Bytes per token alone say nothing of how many tokens fit."""
    assert MemoryLine.fit([], noise_bytes=NOISE, prior=Prior(bytes_per_token=1_000)) is None


def test_flat_memory_has_no_limit() -> None:
    """A recurrent model takes the same at every context; only what it declares ends it."""
    expected, _ = line_of([(4_096, 2 * GIB), (65_536, 2 * GIB)]).limit(BUDGET, 2)

    assert expected == inf


def test_prior_of_no_bytes_per_token_is_no_certainty() -> None:
    """An error that is a part of nothing would be nothing."""
    line = line_of([(4_096, 2 * GIB)], Prior(bytes_per_token=0))

    assert line.error(1 << 20) > line.error(4_096)


@pytest.mark.parametrize(
    "wrong", [{"bytes_per_token": -1}, {"fixed_bytes": -1}, {"relative_error": 0}]
)
def test_estimate_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    """It would make every limit infinite, or every error nothing."""
    with pytest.raises(RequestError):
        Prior(**{"bytes_per_token": 1, **wrong})


def test_reserve_is_two_gib_or_a_twentieth_of_a_large_machine() -> None:
    """What is left to everything else."""
    assert reserve_bytes(8 * GIB) == 2 * GIB
    assert reserve_bytes(400 * GIB) == 20 * GIB


@pytest.mark.parametrize(("available", "spare"), [(12, 10), (2, 0), (1, 0)])
def test_what_is_free_less_the_reserve_can_be_spared(available: int, spare: int) -> None:
    """Never less than nothing, however little is free."""
    memory = MachineMemory(total=24 * GIB, available=available * GIB)

    assert spare_bytes(memory) == spare * GIB


def test_cards_add_what_is_free_on_them_less_a_twentieth() -> None:
    """A card that is full adds nothing, and takes nothing away."""
    cards = (
        Accelerator(name="large", total=20 * GIB, free=11 * GIB),
        Accelerator(name="full", total=20 * GIB, free=0),
    )
    memory = MachineMemory(total=24 * GIB, available=12 * GIB, accelerators=cards)

    assert spare_bytes(memory) == (10 + 10) * GIB
