"""Ctrl-C while many models are tested: the first one waits for the probe under way to end.

A signal arrives between any two steps of the program, in the middle of a line being printed as well
as of a row being written. So its handler only takes note; what follows from it is said and done at
the next event, which comes at least twice a second.
"""

import signal
from types import FrameType, TracebackType
from typing import Final, Self

from lmstrix.cli.progress import TestProgress
from lmstrix.values import Event

STOPPING: Final = "stopping after this probe; press Ctrl-C again to stop at once"


class Stopped(KeyboardInterrupt):
    """Ctrl-C, where no probe is cut short by it."""


class OrderlyStop:
    """Hands events on as an `on_event`; raises `Stopped` once Ctrl-C was pressed and no probe runs.

    A second Ctrl-C is a plain `KeyboardInterrupt`. A process that was told to ignore the signal
    goes on ignoring it.
    """

    def __init__(self, progress: TestProgress) -> None:
        self._progress = progress
        self._probing = False
        self._asked = False
        self._told = False

    def __enter__(self) -> Self:
        self._watches = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._watches:
            signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._watches:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def __call__(self, event: Event) -> None:
        """Hand `event` on, and stop if that was asked for and nothing is lost by it."""
        if event.kind in {"probe-started", "probe-ended"}:
            self._probing = event.kind == "probe-started"
        self._progress(event)
        if self._asked and not self._probing:
            # Once: what is told while the stop cleans up must not stop the cleaning up.
            self._asked = False
            raise Stopped
        if self._asked and not self._told:
            self._told = True
            self._progress.say(STOPPING)

    def _ask(self, _: int, __: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        if not self._probing:
            raise Stopped
        self._asked = True
