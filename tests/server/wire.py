"""The installed server, driven line by line: nothing stands between a test and the protocol."""

import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

import psutil

SCRIPT: Final = Path(sys.executable).with_name("lmstrix-mcp")
NEWEST: Final = "2025-11-25"


class Wire(AbstractContextManager["Wire"]):
    """A server process, and every line that it wrote to its standard output.

    Args:
        log: Where its standard error goes.
        command: What to run instead of the installed script.

    Attributes:
        lines: What was read so far, as it came.
    """

    def __init__(self, log: Path, *command: str | Path) -> None:
        self.lines: list[bytes] = []
        self._log = log.open("wb")
        self._numbers = 0
        self.process = subprocess.Popen(
            command or [SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def greet(self) -> dict[str, Any]:
        """Shake hands, as hosts of the elder era do; return the server's answer."""
        client = {"name": "wire", "version": "0"}
        answer = self.ask(
            "initialize", {"protocolVersion": NEWEST, "capabilities": {}, "clientInfo": client}
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool; return its structured content."""
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = answer["result"]["structuredContent"]
        return content

    def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request; return the message that answers it."""
        self._numbers += 1
        request = {"jsonrpc": "2.0", "id": self._numbers, "method": method, "params": params}
        self.send(request)
        while True:
            message = self.read()
            if message.get("id") == self._numbers:
                return message

    def send(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self.send_line(json.dumps(message).encode())

    def send_line(self, line: bytes) -> None:
        """Send one line, whatever it is."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Return the next message; a line that is none fails the test."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has closed its output"
        self.lines.append(line)
        message: dict[str, Any] = json.loads(line)
        return message

    def leave(self) -> None:
        """Close the server's input, as a host does that has had enough."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def rest(self) -> bytes:
        """Return what the server wrote between the last message read and its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def children(self) -> list[psutil.Process]:
        """Return the processes that the server has started and that still run."""
        return psutil.Process(self.process.pid).children(recursive=True)
