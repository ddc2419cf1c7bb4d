"""`lmstrix` with a fake runtime, to be run in a process of its own.

All the rest is real: settings, registry, signals, streams. The second load does not end before a
signal comes, and says so on stderr; only that of `slow` ends then. Closing the runtime is said
there, too.
"""

import os
import signal
import sys

from cli.answers import answering
from lmstrix import app
from lmstrix.cli import main
from lmstrix.ports import LoadRequest, OnTick, Tick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import Model

STUCK = "the second load has begun"
CLOSED = "the runtime is closed"


class Stuck(FakeBackend):
    """A runtime whose second load waits for a signal."""

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load once, then hang."""
        if [call.name for call in self.calls].count("load") == 1:
            arrivals, bell = os.pipe()
            os.set_blocking(bell, False)
            signal.set_wakeup_fd(bell)
            sys.stderr.write(f"{STUCK}\n")
            os.read(arrivals, 1)
            if on_tick is not None:
                on_tick(Tick(phase="load", done=0.1, total=1.0))
            if model.key != "slow":
                os.read(arrivals, 1)
        return super().load(model, request, on_tick=on_tick)

    def close(self) -> None:
        """Say that it was called."""
        sys.stderr.write(f"{CLOSED}\n")
        super().close()


if __name__ == "__main__":
    models = (
        FakeModel(key="quick", declared=4_096, fixed_bytes=1 << 28),
        FakeModel(key="slow", declared=32_768, fixed_bytes=1 << 29),
        FakeModel(key="tiny", declared=32_768, reply=answering("forty-two")),
    )
    vars(app)["open_backend"] = lambda _: Stuck(*models)
    main()
