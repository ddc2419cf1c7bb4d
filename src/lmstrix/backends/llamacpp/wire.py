"""Calls to the engine's loopback HTTP server, plain and streamed.

A blocking read cannot be interrupted, so a streamed answer is read by a thread while whoever calls
waits on its queue. Closing a stream shuts its socket down, which ends the thread and tells the
engine to stop.
"""

import contextlib
import json
import queue
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

BEAT_S: Final = 0.25
"""Seconds between two signs of life while nothing arrives."""
CALL_S: Final = 120.0
"""Longest a plain call may take, in seconds: tokenizing a million tokens takes a few."""


class RefusedError(Exception):
    """The engine answered with an error. `told` is its JSON error object, or empty."""

    def __init__(self, status: int, body: bytes) -> None:
        try:
            self.told: dict[str, Any] = json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            self.told = {}
        super().__init__(str(self.told.get("message") or f"HTTP {status}"))


class BrokenError(Exception):
    """The connection could not be made, or broke before the answer was complete."""


class Wire:
    """The way to one engine: where it listens, and the key it wants to see."""

    def __init__(self, url: str, api_key: str) -> None:
        parts = urlsplit(url)
        self._host = (parts.hostname or "127.0.0.1", parts.port)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON that answers a GET, or a POST of `body`.

        Raises:
            RefusedError: The engine answered with an error.
            BrokenError: It did not answer.
        """
        connection = self.connect(CALL_S)
        try:
            return json.loads(self.ask(connection, path, body).read())
        except (OSError, HTTPException, ValueError) as error:
            raise BrokenError(str(error)) from error
        finally:
            connection.close()

    def connect(self, timeout_s: float | None) -> HTTPConnection:
        """Return a connection that is not made yet; reads on it end after `timeout_s` seconds."""
        return HTTPConnection(*self._host, timeout=timeout_s)

    def ask(
        self, connection: HTTPConnection, path: str, body: dict[str, Any] | None
    ) -> HTTPResponse:
        """Send a request and return the response once its head has arrived.

        Raises:
            RefusedError: The engine answered with an error.
            OSError, HTTPException: The connection broke.
        """
        data = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, data, self._headers)
        response = connection.getresponse()
        if response.status >= 400:
            raise RefusedError(response.status, response.read())
        return response


class Stream:
    """The server-sent events that answer one POST."""

    def __init__(self, wire: Wire, path: str, body: dict[str, Any]) -> None:
        self._wire = wire
        self._connection = wire.connect(None)
        self._parts: queue.SimpleQueue[dict[str, Any] | Exception | None] = queue.SimpleQueue()
        self._thread = Thread(target=self._read, args=(path, body), daemon=True)
        with contextlib.suppress(OSError):  # the thread meets the same error, and tells
            self._connection.connect()
        self._thread.start()

    def parts(self, *, stall_s: float, on_silence: Callable[[], None]) -> Iterator[dict[str, Any]]:
        """Yield each event's JSON as it arrives.

        Args:
            stall_s: Longest silence, in seconds.
            on_silence: Called every `BEAT_S` seconds while nothing arrives.

        Raises:
            TimeoutError: Nothing came for `stall_s` seconds.
            RefusedError: The engine answered with an error.
            BrokenError: The connection broke.
        """
        heard = time.monotonic()
        while True:
            try:
                part = self._parts.get(timeout=BEAT_S)
            except queue.Empty:
                if time.monotonic() - heard > stall_s:
                    raise TimeoutError from None
                on_silence()
                continue
            heard = time.monotonic()
            if part is None:
                return
            if isinstance(part, Exception):
                raise part
            yield part

    def close(self) -> None:
        """Break the connection if it is still there, and wait for the reading thread to end."""
        if self._connection.sock is not None:
            with contextlib.suppress(OSError):
                self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._connection.close()

    def _read(self, path: str, body: dict[str, Any]) -> None:
        end: Exception | None = None
        try:
            for line in self._wire.ask(self._connection, path, body):
                if line.startswith(b"data: {"):
                    self._parts.put(_event(line))
        except RefusedError as error:
            end = error
        except (OSError, HTTPException, ValueError) as error:
            end = BrokenError(str(error))
        self._parts.put(end)


def _event(line: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
    if "error" in event:
        raise RefusedError(500, json.dumps(event).encode())
    return event
