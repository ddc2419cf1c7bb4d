"""The installed program, killed in a search on real llama.cpp and started again, goes on."""

import os
import random
from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from benchmarks.resume import kill_and_resume, search


@pytest.fixture
def environment(tmp_path: Path, own_home: Path) -> dict[str, str]:
    """An environment in which `heavy`, 32 KiB a token, is the only model."""
    folder = tmp_path / "models"
    folder.mkdir()
    write_tiny_gguf(
        folder / "heavy-f16.gguf", context_length=131_072, layers=8, kv_heads=8, head_size=128
    )
    return {**os.environ, "LMSTRIX_MODELS_DIR": str(folder), "LMSTRIX_BACKEND": "llamacpp"}


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
