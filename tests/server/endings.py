"""The three ways in which a server is asked to end."""

import signal
from collections.abc import Callable
from typing import Final

import pytest

from server.wire import Wire

IN_TIME_S: Final = 2.0
"""Hosts kill a server that is still there two seconds after they closed its input."""

Ending = Callable[[Wire], None]


def close_input(wire: Wire) -> None:
    """End as a host does."""
    wire.leave()


def interrupt(wire: Wire) -> None:
    """End as Ctrl-C at a terminal does."""
    wire.process.send_signal(signal.SIGINT)


def terminate(wire: Wire) -> None:
    """End as a service manager does."""
    wire.process.send_signal(signal.SIGTERM)


ENDINGS: Final = [
    pytest.param(close_input, 0, id="EOF"),
    pytest.param(interrupt, 130, id="SIGINT"),
    pytest.param(terminate, 143, id="SIGTERM"),
]
"""How it is asked, and the exit code that says so."""
