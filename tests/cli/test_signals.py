"""A run that is stopped cleans up, says what was kept, and leaves with the contract's code."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.fake_lmstrix import CLOSED, STUCK

pty = pytest.importorskip("pty", reason="signals and terminals of POSIX")

TESTS = Path(__file__).parent.parent


def start(*args: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start `lmstrix` over a fake runtime."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.fake_lmstrix", *args],
        cwd=TESTS,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def stop(args: Sequence[str], number: signal.Signals) -> tuple[int, str, str]:
    """Stop a run in the middle of a load; return its exit code, stdout and stderr."""
    with start(*args) as process:
        assert process.stderr is not None
        before: list[str] = []
        while (line := process.stderr.readline().strip()) != STUCK:
            assert line, f"ended early: {before}"
            before.append(line)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


def recorded() -> Sequence[dict[str, str]]:
    """Return the probes that the registry has now, read in another process."""
    with start("history", "--json") as process:
        stdout, _ = process.communicate(timeout=30)
    probes: Sequence[dict[str, str]] = json.loads(stdout)["probes"]
    return probes


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_test_closes_everything_and_says_what_was_kept(
    number: signal.Signals, code: int
) -> None:
    """A child or an open row left behind would haunt the next run."""
    exit_code, stdout, stderr = stop(["test", "tiny"], number)

    assert (exit_code, stdout) == (code, "")
    assert CLOSED in stderr
    assert stderr.splitlines()[-1].startswith(
        "interrupted: the probes of `tiny` that ended are recorded (1)"
    )
    assert "Traceback" not in stderr
    assert [probe["outcome"] for probe in recorded()] == ["passed", "unknown"]


def test_stopped_run_with_json_prints_one_error_document() -> None:
    """A script that waits for JSON gets JSON."""
    exit_code, stdout, _ = stop(["test", "tiny", "--json"], signal.SIGINT)

    assert exit_code == 130
    assert json.loads(stdout)["error"]["code"] == "interrupted"


@pytest.mark.parametrize("args", [["--help"], ["list", "--json"], ["frob", "--json"]])
def test_reader_that_leaves_ends_the_run_quietly(args: Sequence[str]) -> None:
    """`lmstrix list | head -1` is no mistake; 1 would say that no context works."""
    reader, writer = os.pipe()
    os.close(reader)
    with start(*args, stdout=writer) as process:
        os.close(writer)
        _, stderr = process.communicate(timeout=30)

    assert process.returncode == 141
    assert [line for line in stderr.splitlines() if line != CLOSED] == []


def test_answer_is_streamed_to_a_terminal_and_ends_its_line() -> None:
    """A person reads while the model writes; the answer appears once."""
    ours, theirs = pty.openpty()
    with start("infer", "x", "tiny", stdout=theirs) as process:
        os.close(theirs)
        process.communicate(timeout=30)
        said = os.read(ours, 4_096).decode()
    os.close(ours)

    assert process.returncode == 0
    assert said == "forty-two\r\n"
