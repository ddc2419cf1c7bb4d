"""One engine process: started, watched while it loads, measured, ended.

Two threads per process: a reader that keeps the tail of its standard error, and whoever calls.
`guard` is what callers call while they wait: it ends a process that takes more than its budget.
"""

import json
import logging
import os
import queue
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from threading import Thread
from typing import IO, Final, TypeVar, cast

import psutil

from lmstrix.backends.llamacpp.failures import classify, last_words
from lmstrix.backends.llamacpp.worker import Orders
from lmstrix.errors import GenerationError, ModelLoadError
from lmstrix.sizes import show_bytes
from lmstrix.values import Outcome

log = logging.getLogger(__name__)

Failure = TypeVar("Failure", ModelLoadError, GenerationError)

PRIVATE_COUNTED: Final = sys.platform.startswith("linux")
LESS_MEMORY: Final = "ask for a smaller context, or allow more with LMSTRIX_MEMORY_BUDGET"
STACKS: Final = 2**20
"""Bytes by which a reading may exceed a limit that the kernel keeps: it does not limit stacks."""
TAIL_LINES: Final = 200
SECRETS: Final = ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN", "HF_TOKEN")


class EngineProcess:
    """A child that runs `worker` with `orders`.

    Args:
        orders: What it loads, and how.
        weights_bytes: Size of the model files, which the engine maps into its memory.
        budget_bytes: Most memory it may take; `guard` ends it beyond. None: no cap.
    """

    def __init__(self, orders: Orders, *, weights_bytes: int, budget_bytes: int | None) -> None:
        self.load_s: float | None = None
        self._began = time.monotonic()
        self._weights = weights_bytes
        self._budget = budget_bytes
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._reports: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._before: Mapping[str, int] = {}
        self._peak: int | None = None
        self._overrun = False
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "lmstrix.backends.llamacpp.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(os.environ),
            start_new_session=True,  # a Ctrl-C at the terminal is ours to handle, not the engine's
        )
        self._readers = [
            _start_reader(self._keep_lines, self._child.stderr),
            _start_reader(self._keep_reports, self._child.stdout),
        ]
        self._send(orders)

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child still runs."""
        return self._child.poll() is None

    @property
    def words(self) -> str:
        """What the child last said of its trouble, and how it ended."""
        if self._overrun:
            return f"stopped by LMStrix at {show_bytes(self._peak or 0)}, over its memory budget"
        return last_words(self._child.poll(), self._lines)

    def wait_ready(self, wait_s: float) -> str | None:
        """Wait up to `wait_s` seconds; return the engine's URL once it is loaded, else None.

        Raises:
            ModelLoadError: The child ended instead.
        """
        try:
            line = self._reports.get(timeout=wait_s)
        except queue.Empty:
            return None
        if not line:
            raise self.failure(ModelLoadError, "the engine did not load the model")
        report = json.loads(line)
        if "url" in report:
            self.load_s = time.monotonic() - self._began
            return str(report["url"])
        self._before = report
        return None

    def guard(self) -> None:
        """Measure the child's memory, and end it if it takes more than its budget."""
        taken = self._measure()
        if taken is None:
            return
        self._peak = max(taken, self._peak or 0)
        if self._budget is not None and taken > self._budget + STACKS:
            self._overrun = True
            self._child.kill()

    def memory_bytes(self) -> int | None:
        """Return the most memory the child was seen to take for the model, or None."""
        self.guard()
        return self._peak

    def failure(self, kind: type[Failure], message: str) -> Failure:
        """Return the error for a child that ended by itself: what it died of, in its own words."""
        status = self._child.wait()
        self._join_readers()
        outcome = Outcome.OUT_OF_MEMORY if self._overrun else classify(status, self._lines)
        remedy = LESS_MEMORY if outcome is Outcome.OUT_OF_MEMORY else None
        return kind(f"{message}: {self.words}", outcome=outcome, detail=self.words, hint=remedy)

    def ends_within(self, seconds: float) -> bool:
        """Wait up to `seconds`; return whether the child has ended by then."""
        try:
            self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self) -> None:
        """Kill the child, if it is still there, and release its pipes."""
        self._child.kill()
        self._child.wait()
        self._join_readers()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream is not None:
                stream.close()

    def _measure(self) -> int | None:
        """Return what the model takes: memory beyond what the child had before it loaded.

        On Linux private memory is counted as allocated (what the limit counts too: llama.cpp
        touches its compute buffers only later), and the mapped weights by their size. Elsewhere
        it is what is resident.
        """
        if not self._before:
            return None
        try:
            info = psutil.Process(self.pid).memory_info()
        except psutil.Error:
            return None  # it has just ended; whoever waits for it will see how
        if PRIVATE_COUNTED:
            return int(info.data - self._before["data"] + self._weights)
        return int(info.rss - self._before["rss"])

    def _send(self, orders: Orders) -> None:
        lifeline = cast("IO[bytes]", self._child.stdin)
        try:
            lifeline.write(orders.to_line())
            lifeline.flush()
        except BrokenPipeError:
            log.debug("engine process %s ended before it had its orders", self.pid)

    def _keep_lines(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip()
            self._lines.append(line)
            log.debug("engine %s: %s", self.pid, line)

    def _keep_reports(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._reports.put(line)
        self._reports.put(b"")

    def _join_readers(self) -> None:
        for reader in self._readers:
            reader.join()


def _start_reader(target: Callable[[IO[bytes]], None], stream: IO[bytes] | None) -> Thread:
    reader = Thread(target=target, args=(stream,), daemon=True)
    reader.start()
    return reader


def _environment(parent: Mapping[str, str]) -> dict[str, str]:
    """Return the child's environment: ours, without tokens, and llama.cpp set to die quickly."""
    kept = {name: value for name, value in parent.items() if name not in SECRETS}
    # Without this, an abort first attaches gdb, which takes seconds; and each arena that malloc
    # opens for a thread reserves memory that no model asked for.
    return kept | {"GGML_NO_BACKTRACE": "1", "MALLOC_ARENA_MAX": "2"}
