"""An `LMStrix` over a fake runtime that stands still while it is told to."""

from collections.abc import Iterator

import pytest

from lmstrix.app import LMStrix
from lmstrix.server.jobs import Jobs
from lmstrix.testing import FakeModel, MemoryRegistry
from server.gate import PATIENCE_S, GatedBackend


@pytest.fixture
def backend() -> Iterator[GatedBackend]:
    """Two small models; whatever waits at the gate is let go in the end."""
    runtime = GatedBackend(
        FakeModel(key="qwen3-8b", declared=8_192), FakeModel(key="gemma-3-270m", declared=32_768)
    )
    yield runtime
    runtime.gate.set()
    runtime.listing_gate.set()


@pytest.fixture
def registry() -> MemoryRegistry:
    """Where probes of these tests end up."""
    return MemoryRegistry()


@pytest.fixture
def strix(backend: GatedBackend, registry: MemoryRegistry) -> Iterator[LMStrix]:
    """Everything but a real runtime."""
    with LMStrix(backend=backend, registry=registry) as opened:
        yield opened


@pytest.fixture
def jobs(backend: GatedBackend) -> Iterator[Jobs]:
    """Jobs that have all ended when the test has."""
    opened = Jobs()
    yield opened
    backend.gate.set()
    opened.close(PATIENCE_S)
