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
from lmstrix.cli.stopping import STOPPING

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


def stop(
    args: Sequence[str], number: signal.Signals, *, again: bool = False
) -> tuple[int, str, str]:
    """Stop a run in the middle of a load; return its exit code, stdout and stderr."""
    with start(*args) as process:
        read_until(STUCK, process)
        process.send_signal(number)
        if again:
            read_until(STOPPING, process)
            process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


def read_until(awaited: str, process: subprocess.Popen[str]) -> None:
    """Read what the process says on stderr as far as the line that is awaited."""
    assert process.stderr is not None
    before: list[str] = []
    while (line := process.stderr.readline().strip()) != awaited:
        assert line, f"ended early: {before}"
        before.append(line)


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


def test_ctrl_c_lets_the_running_probe_of_a_batch_end_and_shows_what_is_done() -> None:
    """Minutes of loading are not thrown away, and what is known is seen at once."""
    exit_code, stdout, stderr = stop(["test", "--all", "--proof", "answer"], signal.SIGINT)

    assert exit_code == 130
    titles, row, _, totals = stdout.splitlines()
    assert (titles.split()[0], row.split()[:2]) == ("model", ["quick", "tested"])
    assert totals.startswith("probes: 2, failures: 0, ")
    assert STOPPING in stderr.splitlines()
    assert stderr.splitlines()[-2].startswith("interrupted: 1 of 3 models are tested; run the same")
    assert [(probe["model"], probe["outcome"]) for probe in recorded()] == [
        ("quick", "passed"),
        ("slow", "passed"),
    ]


def test_stopped_batch_with_json_prints_the_reports_there_are() -> None:
    """A script that stops a batch still wants what it paid for, in one document."""
    exit_code, stdout, _ = stop(["test", "--all", "--proof", "answer", "--json"], signal.SIGINT)

    assert exit_code == 130
    assert [report["model"] for report in json.loads(stdout)["reports"]] == ["quick"]


def test_second_ctrl_c_stops_a_batch_at_once() -> None:
    """Whoever asks twice means it: the load would never end."""
    exit_code, stdout, stderr = stop(
        ["test", "--all", "--filter", "tiny"], signal.SIGINT, again=True
    )

    assert (exit_code, stdout) == (130, "")
    assert CLOSED in stderr
    assert stderr.splitlines()[-1].startswith("interrupted: the probes of `tiny` that ended are")
    assert stderr.splitlines()[-1].endswith("run the same command again to go on")
    assert [probe["outcome"] for probe in recorded()] == ["passed", "unknown"]


def test_batch_that_was_stopped_goes_on_where_it_was() -> None:
    """What was measured before Ctrl-C is not measured again."""
    stop(["test", "--all", "--proof", "answer"], signal.SIGINT)

    with start("test", "--all", "--proof", "answer", "--filter", "slow") as process:
        read_until(STUCK, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)

    sizes = [probe["requested"] for probe in recorded() if probe["model"] == "slow"]
    assert len(set(sizes)) == len(sizes) == 3


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
