"""`lmstrix` with a fake runtime, to be run in a process of its own.

All the rest is real: settings, registry, signals, streams. The second load never ends, and says so
on stderr; closing the runtime is said there, too.
"""

import sys
import threading

from cli.answers import answering
from lmstrix import app
from lmstrix.cli import main
from lmstrix.ports import LoadRequest, OnTick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import Model

STUCK = "the second load has begun"
CLOSED = "the runtime is closed"


class Stuck(FakeBackend):
    """A runtime whose second load never ends."""

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load once, then hang."""
        if any(call.name == "load" for call in self.calls):
            sys.stderr.write(f"{STUCK}\n")
            threading.Event().wait()
        return super().load(model, request, on_tick=on_tick)

    def close(self) -> None:
        """Say that it was called."""
        sys.stderr.write(f"{CLOSED}\n")
        super().close()


if __name__ == "__main__":
    tiny = FakeModel(key="tiny", declared=32_768, reply=answering("forty-two"))
    vars(app)["open_backend"] = lambda _: Stuck(tiny)
    main()
