"""A command line over fakes: what is typed goes in, exit code, stdout and stderr come out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner, Result

from cli.answers import answering
from lmstrix import LMStrix, Settings
from lmstrix.cli import cli
from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry
from lmstrix.values import Completion, TestReport

GIB = 1 << 30


class Recorder(LMStrix):
    """The façade, which also remembers what it was asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.asked: dict[str, Any] = {}

    def test_context(self, model: str, **options: Any) -> TestReport:
        """Remember the options, and test."""
        self.asked = {"model": model, **options}
        return super().test_context(model, **options)

    def infer(self, model: str = "", prompt: str = "", **options: Any) -> Completion:
        """Remember the options, and infer."""
        self.asked = {"model": model, "prompt": prompt, **options}
        return super().infer(model, prompt, **options)


class Run(Protocol):
    """Runs a command line."""

    def __call__(
        self, *args: str, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        """Return what came of `args`."""
        ...


@pytest.fixture
def models() -> Sequence[FakeModel]:
    """Two models: one that holds little in 2 GiB, one whose key looks like rich's markup."""
    return (
        FakeModel(key="tiny", declared=32_768, reply=answering("forty-two")),
        FakeModel(key="[a]", declared=8_192, bytes_per_token=1 << 10),
    )


@pytest.fixture
def backend(models: Sequence[FakeModel]) -> FakeBackend:
    """A runtime with 2 GiB to spare."""
    return FakeBackend(*models, budget_bytes=2 * GIB)


@pytest.fixture
def strix(backend: FakeBackend, own_home: Path) -> Recorder:
    """The façade over the fakes."""
    settings = Settings.read(config_file=own_home / "none.toml")
    return Recorder(settings, backend=backend, registry=MemoryRegistry())


@pytest.fixture
def run(strix: Recorder) -> Run:
    """Run a command line over the fakes; an exception that nobody meant is the test's failure."""

    def invoke(
        *args: str, stdin: str | bytes | None = None, env: Mapping[str, str] | None = None
    ) -> Result:
        result = CliRunner(env=env).invoke(cli, args, input=stdin, obj=strix)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
