"""The figures that the documentation gives, in a short form: the same machines, fewer of them."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.search_table import DECLARED, RUNS, SEED, main, measure

FEW = 300
DOCUMENT = Path(__file__).parents[2] / "docs" / "strategies.md"


@pytest.mark.parametrize("declared", DECLARED)
def test_certify_is_sure_and_gives_little_away_in_few_loads(declared: int) -> None:
    """What it was made for; the long form must reach 3.6, 93 % and 5 %."""
    row = measure("certify", "nothing", declared, runs=FEW)

    assert row.probes <= 3.6
    assert row.clean >= 92.5
    assert row.given_away <= 5.2
    assert row.false == 0


@pytest.mark.parametrize("declared", DECLARED)
def test_exact_is_within_the_granularity_in_fewer_loads_than_bisection(declared: int) -> None:
    """The line is worth what it costs; the long form must reach 6 loads."""
    row = measure("exact", "nothing", declared, runs=FEW)
    plain = measure("plain bisection", "nothing", declared, runs=FEW)

    assert row.within == plain.within == 100
    assert row.false == 0
    assert row.probes <= min(6, 0.65 * plain.probes)
    assert row.failed < 0.3 * plain.failed


def test_budget_believed_too_high_costs_certify_little_more_than_one_failure() -> None:
    """A mild one: a few per cent of the budget."""
    row = measure("certify", "budget high", 262_144, runs=FEW)

    assert row.failed <= 1.4
    assert row.overshoot_p95 <= 6
    assert row.given_away <= 6


def test_exact_risks_few_bytes_where_two_near_loads_are_all_it_goes_by() -> None:
    """Without a prior the slope is hardly known, and the likely place may be far too high."""
    assert measure("exact", "no prior", 262_144, runs=FEW).overshoot_p95 <= 16


def test_exact_comes_through_a_budget_that_is_wrong() -> None:
    """Too low, it must not creep beyond; too high, it must not creep below."""
    assert measure("exact", "budget low", 1_048_576, runs=FEW).probes <= 5.7
    assert measure("exact", "budget high", 1_048_576, runs=FEW).probes <= 9.5


def test_one_command_prints_the_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The figures in the documentation can be had by anyone who doubts them."""
    main(["--runs", "3", "--wrong", "flaky"])
    table = capsys.readouterr().out
    main(["--runs", "3", "--wrong", "flaky", "--json"])
    found = json.loads(capsys.readouterr().out)

    assert "wrong: flaky" in table
    assert len(found["rows"]) == 5 * len(DECLARED)
    assert {row["strategy"] for row in found["rows"]} >= {"certify", "exact", "plain bisection"}
    said = re.search(r"seed (\d+), (\d) ?000 runs", DOCUMENT.read_text(encoding="utf-8"))
    assert said is not None
    assert (int(said[1]), int(said[2]) * 1000) == (SEED, RUNS)
