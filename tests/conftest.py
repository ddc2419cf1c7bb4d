"""Fixtures that every area of the tests may use."""

from pathlib import Path

import pytest

from lmstrix.backends.llamacpp.packaged import assemble_demo_model
from lmstrix.settings import VARIABLES


@pytest.fixture(scope="session")
def gemma_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model: gemma-3-270m, declared 32 768 tokens, assembled once for the session."""
    return assemble_demo_model(tmp_path_factory.mktemp("gemma"))


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test a home of its own, so that none reads or writes the user's."""
    for variables in VARIABLES.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("LMSTRIX_HOME", str(home))
    return home


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio alone."""
    return "asyncio"
