"""The process behind `lmstrix-mcp`: it serves, and it leaves in time.

A host closes our input, waits two seconds and kills. By then the running job must have stopped,
the journal be closed and every child be gone. Python's own way out is no use for that: it joins
threads, and one may sit in `readline` or in the engine for hours. So we stop what can be stopped,
close what can be closed, and end the process ourselves.
"""

import logging
import os
import signal
import sys
import threading
from typing import Final, NoReturn

import anyio

from lmstrix.app import LMStrix
from lmstrix.server.building import build_server
from lmstrix.server.jobs import Jobs
from lmstrix.settings import Settings

log = logging.getLogger(__name__)

STOP_S: Final = 1.2
"""Longest wait for the running job; the engine looks up twice a second."""
LEAVE_S: Final = 1.6
"""Longest that leaving may take in all."""


def serve() -> NoReturn:
    """Serve MCP over standard input and output until the host leaves or a signal comes.

    Raises:
        ConfigError: A setting cannot be used. Nothing was served then.
    """
    settings = Settings.read()
    # Before the SDK sets up logging of its own, which draws boxes for a terminal.
    logging.basicConfig(
        stream=sys.stderr,
        level=settings.log.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    ServerProcess(LMStrix(settings), Jobs()).run()


class ServerProcess:
    """This process, serving `strix` until it has to leave."""

    def __init__(self, strix: LMStrix, jobs: Jobs) -> None:
        self._strix = strix
        self._jobs = jobs

    def run(self) -> NoReturn:
        """Serve, leave, and end the process: 0 after EOF, 128 + n after signal n, else 1."""
        code = 1
        try:
            anyio.run(self._serve)
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        except Exception:
            log.exception("the server failed")
        self._leave(code)

    async def _serve(self) -> None:
        async with anyio.create_task_group() as tasks:
            if sys.platform != "win32":  # where signals cannot be received this way
                tasks.start_soon(self._leave_on_signal)
            await build_server(self._strix, self._jobs).run_stdio_async()
            self._leave(0)

    async def _leave_on_signal(self) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                # From here, and not after unwinding: the SDK's reader cannot be cancelled.
                self._leave(128 + number)

    def _leave(self, code: int) -> NoReturn:
        deadline = threading.Timer(LEAVE_S, _end, (code,))
        deadline.daemon = True
        deadline.start()
        try:
            self._jobs.close(STOP_S)
            self._strix.close()
        except Exception:
            log.exception("something could not be closed")
        _end(code)


def _end(code: int) -> NoReturn:
    # Standard output is not flushed: a writer that is stuck would hold its lock.
    logging.shutdown()
    os._exit(code)
