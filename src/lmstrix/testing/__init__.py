"""Fakes that behave like the real thing, for testing what is built on LMStrix.

    from lmstrix import LMStrix
    from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry

    backend = FakeBackend(FakeModel("tiny", declared=32_768), budget_bytes=2 << 30)
    strix = LMStrix(backend=backend, registry=MemoryRegistry())

`FakeBackend` obeys a memory law and answers what it finds in its prompt; `MemoryRegistry` keeps
what is measured; `FakeClock` stands still until it is advanced.
"""

from lmstrix.testing.backend import Call, FakeBackend, FakeLoaded
from lmstrix.testing.clock import FakeClock
from lmstrix.testing.model import FakeModel, count_pieces
from lmstrix.testing.registry import MemoryRegistry

__all__ = [
    "Call",
    "FakeBackend",
    "FakeClock",
    "FakeLoaded",
    "FakeModel",
    "MemoryRegistry",
    "count_pieces",
]
