"""What other processes do to a registry: `python registry_children.py DEED HOME`, one per deed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from lmstrix.registry import SQLiteRegistry, open_registry
from lmstrix.testing import FakeClock
from lmstrix.values import Fingerprint, Outcome, Probe, Proof

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
HERE = Fingerprint(model="m", runtime="r 1", machine="x")
ROUNDS = 15


def probe_at(context: int, model: str = "m") -> Probe:
    """Return a probe of `model` that is about to start."""
    return Probe(
        model=model, requested=context, proof=Proof.FILL, fingerprint=HERE, started_at=NOON
    )


def ended(opened: Probe, outcome: Outcome = Outcome.PASSED) -> Probe:
    """Return `opened` as it ended, loaded as it was asked for."""
    end = {"outcome": outcome, "effective": opened.requested, "ended_at": NOON}
    return opened.model_copy(update=end)


def die_while_probing(registry: SQLiteRegistry) -> None:
    """Open a probe, and never come back from it."""
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    registry.open_probe("fake", probe_at(8_192))
    _die()


def die_while_writing(registry: SQLiteRegistry) -> None:
    """Die between the end of a probe and the limits that follow from it."""
    opened = registry.open_probe("fake", probe_at(4_096))
    registry._db.execute("BEGIN IMMEDIATE")
    end = "UPDATE probes SET outcome = 'passed', ended_at = 'now' WHERE id = ?"
    registry._db.execute(end, (opened.id,))
    _die()


def write(registry: SQLiteRegistry) -> None:
    """Open and close probes as fast as can be, of a model named after this process."""
    for context in range(1, ROUNDS + 1):
        opened = registry.open_probe("fake", probe_at(context, model=str(os.getpid())))
        registry.put_note("last", str(os.getpid()))
        registry.close_probe(ended(opened))


def measure(registry: SQLiteRegistry) -> None:
    """Hold the right to measure, with a probe open, until standard input ends."""
    with registry.measuring("fake"):
        registry.open_probe("fake", probe_at(8_192))
        _say_ready()
        sys.stdin.read()


def probe_in_the_future(registry: SQLiteRegistry) -> None:
    """Be a newer LMStrix, killed before its journal was folded into the file."""
    registry.open_probe("fake", probe_at(4_096))
    registry._db.execute("PRAGMA user_version = 99")
    _die()


def _say_ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def start(deed: Callable[[SQLiteRegistry], None], home: Path) -> subprocess.Popen[str]:
    """Start a process that does `deed` to the registry in `home`."""
    command = [sys.executable, __file__, deed.__name__, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(deed: Callable[[SQLiteRegistry], None], home: Path) -> int:
    """Let a process do `deed` to the registry in `home`; return its exit code."""
    with start(deed, home) as child:
        child.communicate()
    return child.returncode


if __name__ == "__main__":
    DEEDS = [die_while_probing, die_while_writing, write, measure, probe_in_the_future]
    [chosen] = [deed for deed in DEEDS if deed.__name__ == sys.argv[1]]
    chosen(open_registry(Path(sys.argv[2]), FakeClock()))
