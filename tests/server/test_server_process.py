"""The installed `lmstrix-mcp`: what it writes, and how it leaves."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmstrix import __version__
from server.endings import ENDINGS, IN_TIME_S, Ending
from server.wire import SCRIPT, Wire


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """The installed server, running."""
    with Wire(tmp_path / "stderr.log") as running:
        yield running


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed script to its end, without any input."""
    return subprocess.run(
        [SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_version_and_help_are_told_without_serving() -> None:
    """Installers ask for them, and a person wants to know what this program is."""
    version, usage = run("--version"), run("--help")

    assert (version.returncode, version.stdout) == (0, f"lmstrix-mcp {__version__}\n")
    assert usage.returncode == 0
    assert "Model Context Protocol" in usage.stdout


def test_help_does_not_import_the_protocol() -> None:
    """Importing `mcp` takes more than a second."""
    code = (
        "import sys; from lmstrix.server import main; main(['--help'], standalone_mode=False);"
        "sys.exit('mcp' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.returncode == 0


def test_setting_that_cannot_be_used_is_told_before_serving(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The host's log is all its user has: one line and a remedy, and nothing on the wire."""
    monkeypatch.setenv("LMSTRIX_BACKEND", "abacus")

    done = run()

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: LMSTRIX_BACKEND is unknown: `abacus`\n\n"
        "hint: it is one of `auto`, `lmstudio`, `llamacpp`\n"
    )


def test_every_line_on_stdout_is_a_message(wire: Wire) -> None:
    """One stray line and the host drops the connection, whatever the log level is."""
    answer = wire.greet()
    wire.call("job", action="list")
    wire.send_line(b"this is not a message")
    wire.ask("tools/call", {"name": "list_models", "arguments": {"limt": 1}})
    wire.ask("no/such/method", {})
    wire.leave()

    assert answer["result"]["serverInfo"]["name"] == "lmstrix"
    assert wire.rest() == b""
    assert all(line.startswith(b'{"jsonrpc":"2.0"') for line in wire.lines)


@pytest.mark.parametrize(("ending", "code"), ENDINGS)
def test_idle_server_leaves_in_time(wire: Wire, ending: Ending, code: int) -> None:
    """Three ways to end, and none leaves a zombie behind."""
    wire.greet()

    ending(wire)

    assert wire.process.wait(IN_TIME_S) == code
    assert wire.rest() == b""


@pytest.mark.parametrize(("ending", "code"), ENDINGS)
def test_server_leaves_in_time_though_its_runtime_hangs(
    tmp_path: Path, ending: Ending, code: int
) -> None:
    """A driver that hangs must not keep a process alive that nobody talks to any more."""
    program = Path(__file__).with_name("stuck_server.py")
    with Wire(tmp_path / "stderr.log", sys.executable, program) as wire:
        wire.greet()
        job = wire.call("test_context", model="qwen3-8b", wait_s=0)
        while job["status"] == "queued":
            job = wire.call("job", wait_s=0)

        ending(wire)

        assert wire.process.wait(IN_TIME_S) == code
