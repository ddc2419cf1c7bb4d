"""Pull the plug at any moment: what was recorded is there, and what was under way is known."""

import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest

from lmstrix.errors import RegistryError
from lmstrix.registry import FILE_NAME, SQLiteRegistry, open_registry
from lmstrix.registry.owners import Owner
from lmstrix.testing import FakeClock
from lmstrix.values import Model, Outcome, Status
from registry.registry_children import (
    ROUNDS,
    die_while_probing,
    die_while_writing,
    ended,
    probe_at,
    run,
    start,
    write,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def test_probe_of_a_killed_process_is_interrupted_and_nothing_else_is_lost(own_home: Path) -> None:
    """The size that froze the machine is the one thing the next run must know."""
    assert run(die_while_probing, own_home) == -9

    with closing(open_registry(own_home, FakeClock())) as registry:
        registry.put_models("fake", [Model(key="m", backend="fake", declared_context=8_192)])
        [swept] = registry.sweep()
        before, after = registry.probes()
        [model] = registry.models()
        assert registry.verify() == []

    assert (before.outcome, before.effective) == (Outcome.PASSED, 4_096)
    assert after == swept
    assert (swept.requested, swept.outcome) == (8_192, Outcome.INTERRUPTED)
    assert swept.ended_at == FakeClock().now()
    assert model.limits is not None
    assert (model.limits.usable, model.limits.refuted) == (4_096, 8_192)
    assert model.status is Status.TESTED


def test_detail_of_an_interrupted_probe_names_the_process_and_its_start(own_home: Path) -> None:
    """Whoever reads the history can look for it in the system's log."""
    with start(die_while_probing, own_home) as child:
        child.communicate()

    with closing(open_registry(own_home, FakeClock())) as registry:
        [swept] = registry.sweep()

    assert swept.detail is not None
    assert f"process {child.pid}" in swept.detail
    assert "2030-01-01T12:00:00" in swept.detail


def test_open_probe_of_a_killed_process_reads_as_interrupted_before_it_is_swept(
    own_home: Path,
) -> None:
    """A reader who may not write must not take it for running."""
    run(die_while_probing, own_home)

    with closing(open_registry(own_home, FakeClock())) as registry:
        registry.put_models("fake", [Model(key="m", backend="fake")])
        outcomes = [probe.outcome for probe in registry.probes()]
        [model] = registry.models()
        assert len(registry.sweep()) == 1

    assert outcomes == [Outcome.PASSED, Outcome.INTERRUPTED]
    assert model.status is Status.TESTED


def test_write_cut_in_half_leaves_nothing_of_itself(own_home: Path) -> None:
    """A probe is closed together with its limits, or not at all."""
    assert run(die_while_writing, own_home) == -9

    with closing(open_registry(own_home, FakeClock())) as registry:
        [swept] = registry.sweep()
        assert registry.verify() == []

    assert swept.outcome is Outcome.INTERRUPTED


def test_processes_that_write_at_once_lose_nothing(own_home: Path) -> None:
    """Each agent's host starts a server of its own; they share one file."""
    children = [start(write, own_home) for _ in range(2)]
    for child in children:
        with child:
            child.communicate()

    with closing(open_registry(own_home, FakeClock())) as registry:
        written = {str(child.pid): registry.probes(model=str(child.pid)) for child in children}
        assert registry.get_note("last") in written
        assert registry.verify() == []

    assert [child.returncode for child in children] == [0, 0]
    for probes in written.values():
        assert [probe.requested for probe in probes] == list(range(1, ROUNDS + 1))
        assert all(probe.passed for probe in probes)


def test_probe_is_on_disk_before_it_starts(registry: SQLiteRegistry, own_home: Path) -> None:
    """Another process sees the row as soon as `open_probe` returns."""
    opened = registry.open_probe("fake", probe_at(8_192))

    with closing(open_registry(own_home, FakeClock())) as other:
        assert other.probes() == [opened]
        assert other.sweep() == []
        other.close_probe(ended(opened))
    assert registry.probes() == [ended(opened)]
    assert registry._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert registry._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_sweep_is_not_undone_by_a_writer_who_comes_in_between(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment it judges, nobody else writes: or its own writing would be refused."""
    run(die_while_probing, own_home)
    path = own_home / FILE_NAME
    with (
        closing(open_registry(own_home, FakeClock())) as registry,
        closing(SQLiteRegistry(path, clock=FakeClock(), busy_timeout_s=0.01)) as other,
    ):

        def is_alive(_: Owner) -> bool:
            with suppress(RegistryError):
                other.put_note("last", "m")
            return False

        monkeypatch.setattr(Owner, "is_alive", is_alive)

        assert len(registry.sweep()) == 1


def test_what_is_read_of_models_is_of_one_moment(registry: SQLiteRegistry, own_home: Path) -> None:
    """A probe that ends meanwhile is either under way, or its limits are there."""
    registry.put_models("fake", [Model(key="m", backend="fake")])
    opened = registry.open_probe("fake", probe_at(4_096))
    with closing(open_registry(own_home, FakeClock())) as other:

        def end_meanwhile(statement: str) -> None:
            if "FROM models" in statement:
                other.close_probe(ended(opened))

        registry._db.set_trace_callback(end_meanwhile)
        [before] = registry.models()
        registry._db.set_trace_callback(None)
        [after] = registry.models()

    assert (before.status, before.limits) == (Status.TESTING, None)
    assert after.status is Status.TESTED
