"""The strategies on real llama.cpp: what they promise, in short; `benchmarks/search.py` in full."""

import pytest

from benchmarks.search_real import CASES, Case, measure, ratios
from lmstrix.values import Proof

HEAVY = next(case for case in CASES if case.name == "gen-32k")
FILLED = Case(name="gemma-3-270m", proof=Proof.FILL, budget=500 << 20)


@pytest.mark.real
def test_certify_finds_nearly_all_of_the_limit_in_about_half_the_loads() -> None:
    """And asks for no more than the budget on the way: no load fails."""
    certify, bisect = measure([HEAVY], ["certify", "bisect"])

    _, limit = ratios([certify, bisect], "certify", "bisect")
    assert certify.failed == 0
    assert certify.most <= 100
    assert certify.loads <= 0.6 * bisect.loads
    assert 0.94 <= limit <= 1 + 1_024 / bisect.limit


@pytest.mark.real
def test_window_that_certify_found_is_filled_at_the_first_attempt() -> None:
    """Filling takes memory of its own; to fail at the end of a window costs all of its prefill."""
    [filled] = measure([FILLED], ["certify"])

    assert filled.failed == 0
    assert filled.limit > 2_048
    assert filled.prefilled <= 1.25 * filled.limit
