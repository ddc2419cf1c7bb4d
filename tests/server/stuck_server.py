"""A server whose runtime never comes back: neither from a load, nor from being closed."""

import threading

from lmstrix.app import LMStrix
from lmstrix.ports import LoadRequest, OnTick
from lmstrix.server.jobs import Jobs
from lmstrix.server.process import ServerProcess
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel, MemoryRegistry
from lmstrix.values import Model


class StuckBackend(FakeBackend):
    """A runtime that hangs without a sign of life."""

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Hang."""
        threading.Event().wait()
        return super().load(model, request, on_tick=on_tick)

    def close(self) -> None:
        """Hang."""
        threading.Event().wait()


if __name__ == "__main__":
    backend = StuckBackend(FakeModel(key="qwen3-8b"))
    ServerProcess(LMStrix(backend=backend, registry=MemoryRegistry()), Jobs()).run()
