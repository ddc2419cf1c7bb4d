"""The installed program, killed in the middle of a probe: what is left, what the next run says."""

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

SEARCH = ("test", "heavy", "--proof=load", "--memory-budget=1GiB", "--granularity=8k")
LMSTRIX = str(Path(sys.executable).with_name("lmstrix"))


def run(environment: dict[str, str], *arguments: str) -> Any:
    """Run `lmstrix` to its end and return the JSON it prints."""
    done = subprocess.run(
        [LMSTRIX, *arguments, "--json"], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def start_test(environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start a search whose probes last long enough to be met."""
    return subprocess.Popen(
        [LMSTRIX, *SEARCH],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def meet_probe(process: subprocess.Popen[str], number: int) -> psutil.Process:
    """Read what the program tells until its nth probe has started; return its engine."""
    assert process.stderr is not None
    for line in process.stderr:
        if f"probe {number} of" in line:
            break
    me = psutil.Process(process.pid)
    while not me.children():
        assert process.poll() is None, "the program ended before its probe"
    return me.children()[0]


def largest_tried(report: Any) -> int:
    """Return the largest context that was probed to an end."""
    ended = [probe for probe in report["probes"] if probe["outcome"] != "interrupted"]
    return max(int(probe["requested"]) for probe in ended)


def open_rows(home: Path) -> int:
    """Return how many probes have no end, as the file on disk has it."""
    with sqlite3.connect(home / "registry.sqlite3") as database:
        [(count,)] = database.execute("SELECT count(*) FROM probes WHERE outcome IS NULL")
    database.close()
    return int(count)


def test_a_killed_program_leaves_no_engine_and_a_journal_that_knows(
    environment: dict[str, str], own_home: Path
) -> None:
    """The next start reports the probe as interrupted, and everything before it is still there."""
    process = start_test(environment)
    engine = meet_probe(process, 2)
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs([engine], timeout=5)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
    assert open_rows(own_home) == 1

    first, second = run(environment, "history")["probes"]

    assert (first["requested"], first["outcome"]) == (4_096, "passed")
    assert second["outcome"] == "interrupted"
    assert second["requested"] > first["requested"]
    assert open_rows(own_home) == 0
    [model] = run(environment, "list")["models"]
    assert model["limits"]["loadable"] == 4_096
    assert model["limits"]["refuted"] == second["requested"]


def test_the_interrupted_size_and_all_above_are_left_alone_without_force(
    environment: dict[str, str],
) -> None:
    """Whatever stopped the machine there may do it again; only the user may say otherwise."""
    process = start_test(environment)
    meet_probe(process, 2)
    process.kill()
    process.communicate()
    *_, interrupted = run(environment, "history")["probes"]

    [careful] = run(environment, *SEARCH)["reports"]
    [forced] = run(environment, *SEARCH, "--force")["reports"]

    assert largest_tried(careful) < interrupted["requested"] <= largest_tried(forced)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_program_closes_its_journal_and_says_so(
    environment: dict[str, str], own_home: Path, number: signal.Signals
) -> None:
    """Being stopped by the user is no evidence against the size that was under test."""
    process = start_test(environment)
    engine = meet_probe(process, 2)
    process.send_signal(number)
    process.communicate(timeout=20)

    assert process.returncode == 128 + number
    assert open_rows(own_home) == 0
    _, alive = psutil.wait_procs([engine], timeout=5)
    assert all(one.status() == psutil.STATUS_ZOMBIE for one in alive)
    *_, last = run(environment, "history")["probes"]
    assert (last["outcome"], last["detail"]) == ("unknown", "stopped by the caller")
