"""What the disk and SQLite raise reaches nobody but us; and what it costs stays bounded."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from lmstrix.errors import RegistryCorruptError, RegistryError
from lmstrix.registry import FILE_NAME, SQLiteRegistry, open_registry
from lmstrix.registry.faults import translated
from lmstrix.testing import FakeClock
from lmstrix.values import Fingerprint, Model
from registry.registry_children import HERE, ended, probe_at

FAULTS: list[type[sqlite3.Error]] = [sqlite3.Error]
FAULTS += sqlite3.Error.__subclasses__()
FAULTS += sqlite3.DatabaseError.__subclasses__()


def test_full_disk_is_an_error_that_loses_nothing(registry: SQLiteRegistry) -> None:
    """The row did not get to disk, so the probe must not start; the registry goes on."""
    registry.open_probe("fake", probe_at(4_096))
    (pages,) = registry._db.execute("PRAGMA page_count").fetchone()
    registry._db.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(RegistryError, match="full") as caught:
        registry.put_note("long", "x" * 100_000)

    assert caught.value.hint is not None
    assert "space" in caught.value.hint
    registry._db.execute("PRAGMA max_page_count = 1000000")
    registry.put_note("long", "x" * 100_000)
    assert len(registry.probes()) == 1
    assert registry.verify() == []


def test_file_that_may_not_be_written_is_an_error_with_a_remedy(registry: SQLiteRegistry) -> None:
    """Whoever mounted it read-only can be told."""
    with closing(sqlite3.connect(f"{registry.path.as_uri()}?mode=ro", uri=True)) as reader:
        registry._db, writer = reader, registry._db
        with pytest.raises(RegistryError, match="readonly") as caught:
            registry.put_note("last", "m")
        registry._db = writer

    assert caught.value.hint is not None
    assert "LMSTRIX_HOME" in caught.value.hint


def test_writer_that_never_ends_is_an_error_after_a_wait(own_home: Path) -> None:
    """Another program that holds the file must not hang us for ever."""
    path = own_home / FILE_NAME
    with closing(SQLiteRegistry(path, clock=FakeClock(), busy_timeout_s=0.01)) as registry:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert registry.probes() == []
            assert registry.sweep() == []
            with pytest.raises(RegistryError, match="locked") as caught:
                registry.open_probe("fake", probe_at(4_096))
            other.execute("ROLLBACK")
        registry.open_probe("fake", probe_at(4_096))

    assert caught.value.hint is not None


@pytest.mark.parametrize("name", ["file/registry", "file"])
def test_home_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path, name: str) -> None:
    """LMSTRIX_HOME may point anywhere."""
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(RegistryError, match="cannot be opened") as caught:
        open_registry(tmp_path / name, FakeClock())

    assert caught.value.hint is not None


def test_folder_in_the_place_of_the_file_is_an_error(own_home: Path) -> None:
    """It cannot be opened, whatever it is."""
    (own_home / FILE_NAME).mkdir(parents=True)

    with pytest.raises(RegistryError):
        open_registry(own_home, FakeClock())


def test_value_that_does_not_fit_is_an_error_of_ours(registry: SQLiteRegistry) -> None:
    """SQLite's integers end at 64 bits, and its text is Unicode."""
    with pytest.raises(RegistryError):
        registry.open_probe("fake", probe_at(1 << 63))
    with pytest.raises(RegistryError):
        registry.put_note("last", "\udcff")

    assert registry.probes() == []


def test_registry_that_was_closed_is_an_error_of_ours(registry: SQLiteRegistry) -> None:
    """A job that outlives its server must not die of a foreign exception."""
    registry.close()
    registry.close()

    with pytest.raises(RegistryError):
        registry.models()


@pytest.mark.parametrize("kind", FAULTS)
def test_no_exception_of_sqlite_passes(kind: type[sqlite3.Error]) -> None:
    """No foreign exception crosses the port."""
    with pytest.raises(RegistryError), translated(Path("registry.sqlite3")):
        raise kind("something")


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, 267])
def test_damage_is_told_by_its_code(code: int) -> None:
    """Messages change; 267 is SQLITE_CORRUPT_VTAB, whose low byte is SQLITE_CORRUPT."""
    error = sqlite3.DatabaseError("whatever it says")
    error.sqlite_errorcode = code

    with pytest.raises(RegistryCorruptError), translated(Path("registry.sqlite3")):
        raise error


def test_threads_share_one_registry(registry: SQLiteRegistry) -> None:
    """The server's loop lists models while its engine's thread records probes."""
    registry.put_models("fake", [Model(key="m", backend="fake", declared_context=64)])
    errors: list[BaseException] = []

    def record() -> None:
        try:
            for _ in range(10):
                registry.close_probe(ended(registry.open_probe("fake", probe_at(64))))
                registry.models()
        except BaseException as error:  # noqa: BLE001 - the test's thread reports it
            errors.append(error)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert errors == []
    assert len({probe.id for probe in registry.probes()}) == 40
    assert registry.verify() == []


def steps(registry: SQLiteRegistry) -> int:
    """Return how many steps SQLite's machine takes to sweep and to list the models."""
    taken = 0

    def step() -> int:
        nonlocal taken
        taken += 1
        return 0

    registry._db.set_progress_handler(step, 1)
    registry.sweep()
    registry.models()
    registry._db.set_progress_handler(None, 0)
    return taken


def test_listing_models_costs_the_same_however_many_probes_there_are(
    registry: SQLiteRegistry,
) -> None:
    """Limits are derived when a probe ends, not when someone looks."""
    registry.put_models("fake", [Model(key="m", backend="fake")])
    registry.close_probe(ended(registry.open_probe("fake", probe_at(1))))
    before = steps(registry)
    for context in range(2, 60):
        registry.close_probe(ended(registry.open_probe("fake", probe_at(context))))

    assert steps(registry) == before


def test_limits_of_one_fingerprint_can_be_asked_for(registry: SQLiteRegistry) -> None:
    """A load made now is judged by what holds for it, not by what is newest."""
    there = Fingerprint(model="m", runtime="r 2", machine="x")
    registry.close_probe(ended(registry.open_probe("fake", probe_at(8_192))))
    later = probe_at(4_096).model_copy(update={"fingerprint": there})
    registry.close_probe(ended(registry.open_probe("fake", later)))
    nameless = probe_at(2_048).model_copy(update={"fingerprint": None})
    registry.close_probe(ended(registry.open_probe("fake", nameless)))

    found = [registry.limits("fake", "m", of) for of in (HERE.digest, there.digest, None)]

    assert [limits and limits.usable for limits in found] == [8_192, 4_096, 2_048]
    assert registry.limits("other", "m", HERE.digest) is None
