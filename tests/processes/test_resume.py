"""The installed program, killed in a search on real llama.cpp and started again, goes on."""

import random
from pathlib import Path

import pytest

from benchmarks.resume import kill_and_resume, search


@pytest.mark.real
def test_search_killed_at_any_moment_ends_where_an_undisturbed_one_does(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Or lower, where the size under test was left alone: fifty times in `benchmarks/resume.py`."""
    calm = search(environment)
    chance = random.Random(3)  # noqa: S311 - repeatable on purpose, and no secret

    for number in range(3):
        home = tmp_path / f"home{number}"
        moment = chance.uniform(0.2, calm["elapsed_s"])
        resumed = kill_and_resume(environment | {"LMSTRIX_HOME": str(home)}, home, moment)
        assert resumed.verdict(calm["limits"]["loadable"]) != "WRONG", resumed
