"""A forecast is a promise: what a search costs stays below it, and it shrinks on the way."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.searching import Law, ended, guided, play
from lmstrix.engine.admission import Admission, admit
from lmstrix.engine.forecast import BRIEF, descent, describe, forecast, prefill, reforecast
from lmstrix.engine.memory import GIB
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.strategy import STRATEGIES, SearchSpace, most_probes, most_to_descend
from lmstrix.ports import Prior
from lmstrix.values import Forecast, Model, Outcome, Probe, Proof

SPACE = SearchSpace(ceiling=65_536, granularity=1_024, threshold=65_536)


def read(tokens: int, tps: float, *, load_s: float = 2.0, context: int = 8_192) -> Probe:
    """Return a pass that read so many tokens at that speed."""
    figures = {"prompt_tokens": tokens, "prefill_tps": tps, "load_s": load_s}
    return ended(context).model_copy(update=figures)


def failed(probe: Probe) -> Probe:
    """Return `probe` with the end that a crash gives it."""
    return probe.model_copy(update={"outcome": Outcome.CRASHED})


@st.composite
def admitted(draw: st.DrawFn) -> tuple[Law, TestPlan, Admission]:
    """A law of memory, a plan with any of our strategies, and what it was admitted to."""
    law, space = draw(guided())
    plan = TestPlan(
        proof=draw(st.sampled_from([Proof.LOAD, Proof.ANSWER])),
        strategy=draw(st.sampled_from(sorted(STRATEGIES))),
        threshold=space.threshold,
        granularity=space.granularity,
        chosen_budget=law.budget,
    )
    model = Model(key="m", backend="fake", declared_context=space.ceiling)
    return law, plan, admit(model, plan, earlier=(), prior=space.prior)


@given(search=admitted())
@settings(max_examples=300)
def test_search_takes_no_more_probes_and_tokens_than_were_forecast(
    search: tuple[Law, TestPlan, Admission],
) -> None:
    """Every strategy, as long as memory keeps to its law."""
    law, plan, admission = search

    probes = play(plan.open_strategy(admission.space), law.probe)

    cost = admission.forecast
    assert len(probes) <= cost.probes
    assert sum(prefill(plan.proof, probe.requested) for probe in probes) <= cost.prefill_tokens


@given(search=admitted())
@settings(max_examples=300)
def test_what_is_left_is_always_covered_and_never_grows(
    search: tuple[Law, TestPlan, Admission],
) -> None:
    """A bar that runs backwards is believed by nobody."""
    law, plan, admission = search
    space = admission.space
    probes = play(plan.open_strategy(space), law.probe)

    costs = [reforecast(plan, space, probes[:done]) for done in range(len(probes))]

    for done, cost in enumerate(costs):
        assert len(probes) - done <= cost.probes == max(0, admission.forecast.probes - done)
    for figures in ([c.probes for c in costs], [c.prefill_tokens for c in costs]):
        assert figures == sorted(figures, reverse=True)


def test_each_strategy_is_forecast_by_its_own_count() -> None:
    """`certify` takes a few loads where halving takes many, and has to say so."""
    space = SearchSpace(ceiling=1 << 20, granularity=1_024, threshold=102_400, budget_bytes=8 * GIB)
    costs = {
        name: forecast(TestPlan(strategy=name, proof=Proof.LOAD), space).probes
        for name in STRATEGIES
    }

    assert costs == {name: most_probes(space, name) for name in STRATEGIES}
    assert costs["certify"] < costs["bisect"]


def test_fill_is_forecast_as_short_questions_and_one_window() -> None:
    """The window that is found is filled once, a question at each stair included."""
    cost = forecast(TestPlan(proof=Proof.FILL), SPACE)

    searching = most_probes(SPACE, TestPlan().strategy)
    assert cost.probes == searching + 1
    assert cost.prefill_tokens == searching * BRIEF + prefill(Proof.FILL, 65_536)
    assert 65_536 < prefill(Proof.FILL, 65_536) < 1.1 * 65_536


def test_recall_reads_a_window_and_many_questions() -> None:
    """It costs more than filling, and no second window."""
    fill, recall = (prefill(proof, 131_072) for proof in (Proof.FILL, Proof.RECALL))

    assert 131_072 < fill < recall < 1.15 * 131_072


def test_recall_may_turn_out_to_be_immeasurable_and_then_the_window_is_filled() -> None:
    """That is another load and another window."""
    space = SearchSpace(ceiling=8_192, granularity=1_024, threshold=65_536)

    cost = forecast(TestPlan(proof=Proof.RECALL, context=8_192), space)

    both = prefill(Proof.RECALL, 8_192) + prefill(Proof.FILL, 8_192)
    assert (cost.probes, cost.prefill_tokens) == (2, both)


@pytest.mark.parametrize("proof", [Proof.LOAD, Proof.ANSWER, Proof.FILL])
def test_one_context_is_one_probe_with_the_proof_asked_for(proof: Proof) -> None:
    """`--ctx N` asks for no more than that."""
    space = SearchSpace(ceiling=700, granularity=1_024, threshold=65_536)

    cost = forecast(TestPlan(proof=proof, context=700), space)

    assert (cost.probes, cost.prefill_tokens) == (1, prefill(proof, 700))


@pytest.mark.parametrize(
    ("earlier", "load_s", "tps"),
    [
        ([read(4_000, 500.0)], 2.0, 500.0),
        ([read(4_000, 500.0), failed(read(4_000, 1.0, load_s=99.0))], 2.0, 500.0),
        ([read(40, 100.0), read(4_000, 500.0)], 2.0, 500.0),
        ([read(4_000, 500.0), read(4_000, 250.0), read(40, 900.0, load_s=3.0)], 3.0, 250.0),
    ],
)
def test_time_is_told_by_the_slowest_earlier_probe_that_read_enough(
    earlier: Sequence[Probe], load_s: float, tps: float
) -> None:
    """The speed over a few sentences says little about the speed over a window."""
    cost = forecast(TestPlan(context=65_536), SPACE, earlier)

    assert cost.seconds == pytest.approx(load_s + cost.prefill_tokens / tps)


@pytest.mark.parametrize(
    "earlier", [[], [read(40, 500.0)], [ended(8_192, Outcome.CRASHED)], [ended(8_192)]]
)
def test_time_is_unknown_as_long_as_nothing_tells_it(earlier: Sequence[Probe]) -> None:
    """A figure made up would be believed."""
    assert forecast(TestPlan(), SPACE, earlier).seconds is None


def test_loads_alone_need_no_reading_speed() -> None:
    """The proof `load` reads nothing."""
    plan = TestPlan(proof=Proof.LOAD, context=4_096)

    assert forecast(plan, SPACE, [read(0, 0.0, load_s=7.0)]).seconds == 7.0


def test_what_the_search_measured_tells_the_time_even_by_short_questions() -> None:
    """A rough figure after the first probe is better than none until the last."""
    plan = TestPlan(proof=Proof.FILL)
    short, long = read(40, 500.0), read(4_000, 250.0)

    rough = reforecast(plan, SPACE, [short])
    better = reforecast(plan, SPACE, [short, long])

    assert rough.seconds == pytest.approx(2.0 * rough.probes + rough.prefill_tokens / 500)
    assert better.seconds == pytest.approx(2.0 * better.probes + better.prefill_tokens / 250)
    assert reforecast(plan, SPACE, []).seconds is None


def test_failure_lowers_what_may_still_have_to_be_read() -> None:
    """The window that is filled in the end is smaller than the one that failed."""
    plan = TestPlan(proof=Proof.FILL)
    before = reforecast(plan, SPACE, [read(40, 500.0)])
    after = reforecast(plan, SPACE, [ended(16_384, Outcome.OUT_OF_MEMORY)])

    assert before.probes == after.probes
    assert before.prefill_tokens - after.prefill_tokens == (
        prefill(Proof.FILL, 65_536) - prefill(Proof.FILL, 16_384)
    )


@pytest.mark.parametrize(
    ("budget", "prior", "most"),
    [
        (None, None, None),
        (8 * GIB, None, 8 * GIB),
        (8 * GIB, Prior(bytes_per_token=1_024), 8 * GIB),
        (8 * GIB, Prior(bytes_per_token=1_024, fixed_bytes=GIB), GIB + 65_536 * 1_024),
        (None, Prior(bytes_per_token=1_024, fixed_bytes=GIB), GIB + 65_536 * 1_024),
        (GIB, Prior(bytes_per_token=1_024, fixed_bytes=GIB), GIB),
    ],
)
def test_memory_is_what_a_probe_may_take_or_is_predicted_to(
    budget: int | None, prior: Prior | None, most: int | None
) -> None:
    """Whichever is less: a small model on a large machine takes little of it."""
    space = SearchSpace(
        ceiling=65_536, granularity=1_024, threshold=65_536, budget_bytes=budget, prior=prior
    )

    assert forecast(TestPlan(), space).memory_bytes == most


def test_descent_costs_a_window_for_each_probe_but_the_one_that_failed() -> None:
    """Where a window cannot be filled, going on is expensive, and that must be said."""
    space, cost = descent(TestPlan(), SPACE, 8_192, [read(8_000, 500.0)])

    assert (space.ceiling, space.threshold) == (8_192, 8_192)
    assert cost.probes == most_to_descend(space) - 1
    assert cost.prefill_tokens == cost.probes * prefill(Proof.FILL, 8_192)
    assert cost.seconds == pytest.approx(cost.probes * 2.0 + cost.prefill_tokens / 500)


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        ({}, "at most 1 probe"),
        ({"probes": 7, "prefill_tokens": 70_000}, "at most 7 probes, 70,000 tokens to read"),
        (
            {"memory_bytes": 3 * GIB, "seconds": 1_234.5},
            "at most 1 probe, each within 3.0 GiB of memory, about 1,234 s",
        ),
    ],
)
def test_forecast_reads_as_one_line(cost: dict[str, Any], told: str) -> None:
    """What is not known is not said."""
    nothing = {"probes": 1, "prefill_tokens": 0, "seconds": None, "memory_bytes": None}

    assert describe(Forecast(**(nothing | cost))) == told
