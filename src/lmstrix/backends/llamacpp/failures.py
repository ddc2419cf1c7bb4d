"""What the end of an engine process means, told from its exit status and its last words.

The texts are llama.cpp's own, seen in xllamacpp 2026.10 under a memory limit; a text that is not
known says nothing and leaves the verdict to the exit status.
"""

import re
import signal
from collections.abc import Sequence
from typing import Final

from lmstrix.values import Outcome

_OUT_OF_MEMORY: Final = re.compile(
    r"failed to allocate|insufficient memory|out of memory|bad_alloc|cannot allocate memory"
    r"|unable to allocate|failed to create memory buffer|mem_buffer != NULL|alloc_tensor_range"
    r"|allocating .* failed|MemoryError|failed to mmap"
    # A thread that cannot be started under a memory limit lacks the memory for its stack.
    r"|resource temporarily unavailable",
    re.IGNORECASE,
)
_TELLING: Final = re.compile(
    r"error|fail|insufficient|assert|abort|unable|invalid|terminate|unavailable", re.IGNORECASE
)
_PREFIX: Final = re.compile(r"^[\d.]+ [EWID] +")


def classify(status: int, lines: Sequence[str]) -> Outcome:
    """Return what an engine that ended by itself died of.

    Args:
        status: Its exit status; negative for a signal, as `subprocess` gives it.
        lines: The last lines it printed, in order.
    """
    if any(tells_want_of_memory(line) for line in lines):
        return Outcome.OUT_OF_MEMORY
    if status == -signal.SIGKILL:
        # Nobody but the kernel, short of memory, kills an engine that we did not kill.
        return Outcome.OUT_OF_MEMORY
    if status < 0 or status >= 128:
        return Outcome.CRASHED
    return Outcome.UNKNOWN


def tells_want_of_memory(words: str) -> bool:
    """Return whether the engine's `words` say that it could not get memory."""
    return _OUT_OF_MEMORY.search(words) is not None


def last_words(status: int | None, lines: Sequence[str]) -> str:
    """Return what the engine said of its end, in a line or two, with how it ended."""
    told = [_PREFIX.sub("", line).strip() for line in lines if _TELLING.search(line)]
    words = "; ".join(dict.fromkeys(told[:2] + told[-1:])) or "it said nothing"
    return f"{words} ({_ending(status)})"[:600]


def _ending(status: int | None) -> str:
    if status is None:
        return "still running"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
