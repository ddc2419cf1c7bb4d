"""When to stop a probe, before the machine suffers. Pure over a reading of memory and a clock.

Admission keeps a probe within what can be spared; the watch is for what admission cannot know: a
prediction that was wrong, a runtime without a cap, another program that grows meanwhile.

- **Memory.** Half the reserve is the least that may be left. A probe that keeps to its budget
  leaves all of it.
- **Swap.** A model that fits pushes nothing out. Idle pages go now and then, some MiB at a time;
  `SWAP_BYTES` more than at the start is a machine that makes room for the probe. That much is
  written in a second or so; what freezes a machine is GiBs of it.

Graphics cards are not watched: an allocation that one cannot hold fails at once, and alone.
"""

from collections.abc import Callable
from typing import Final

from lmstrix.engine.memory import reserve_bytes
from lmstrix.ports import MachineMemory
from lmstrix.sizes import show_bytes

PERIOD_S: Final = 0.25
"""A sign of life comes with every token; a reading takes 0.4 ms, and longer with a driver."""
SWAP_BYTES: Final = 256 * 2**20


class Watch:
    """Tells whether memory runs short, each time it is called; see above for when.

    Args:
        read: Reads the memory of the machine; None where it cannot be read, and then all is well.
        start: That memory before the probe. None: the first reading takes its place.
        seconds: Seconds that never run backwards. Memory is read no oftener than `PERIOD_S`.
    """

    def __init__(
        self,
        read: Callable[[], MachineMemory | None],
        start: MachineMemory | None,
        *,
        seconds: Callable[[], float],
    ) -> None:
        self._read = read
        self._start = start
        self._seconds = seconds
        self._due_s: float | None = None

    def __call__(self) -> str | None:
        """Return why the probe has to stop now, in one line, or None."""
        now = self._seconds()
        if self._due_s is not None and now < self._due_s:
            return None
        self._due_s = now + PERIOD_S
        memory = self._read()
        if memory is None:
            return None
        self._start = self._start or memory
        return shortage(memory, self._start)


def shortage(memory: MachineMemory, start: MachineMemory) -> str | None:
    """Return what `memory` lacks, in one line, compared to what it was at the start; or None."""
    least = reserve_bytes(memory.total) // 2
    if memory.available < least:
        left = show_bytes(memory.available)
        return f"{left} of memory left, {show_bytes(least)} is the least"
    grown = memory.swap_used - start.swap_used
    return f"swap grew by {show_bytes(grown)}" if grown > SWAP_BYTES else None
