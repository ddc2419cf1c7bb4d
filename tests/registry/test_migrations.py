"""The schema moves forward in whole steps, and only we move it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from filelock import FileLock

from lmstrix.errors import RegistryError
from lmstrix.registry import FILE_NAME, SQLiteRegistry, migrations, open_registry
from lmstrix.registry.migrations import APPLICATION_ID, MIGRATIONS, migrate, object_names
from lmstrix.registry.opening import check
from lmstrix.testing import FakeClock
from lmstrix.values import Fingerprint, Limits, Model, Outcome, Probe

HERE = Fingerprint(model="m", runtime="r 1", machine="x")


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    """Return an empty database."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        yield db


def marks(db: sqlite3.Connection) -> tuple[int, int]:
    """Return what the file says of itself: whose it is, and its version."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return application, version


def add_table(db: sqlite3.Connection) -> None:
    """Do a step that works."""
    db.execute("CREATE TABLE later (x)")


def fail_half_way(db: sqlite3.Connection) -> None:
    """Do a step that breaks after it has changed something."""
    db.execute("CREATE TABLE half (x)")
    db.execute("CREATE TABLE half (x)")


def test_failing_step_leaves_the_old_version_whole(db: sqlite3.Connection) -> None:
    """An update that does not fit must not cost the measurements."""
    migrate(db, MIGRATIONS)
    before = object_names(db)

    with pytest.raises(sqlite3.OperationalError):
        migrate(db, (*MIGRATIONS, add_table, fail_half_way))

    assert marks(db) == (APPLICATION_ID, len(MIGRATIONS))
    assert object_names(db) == before


def test_only_the_missing_steps_are_done(db: sqlite3.Connection) -> None:
    """A step that was done is never done again."""
    migrate(db, MIGRATIONS)
    migrate(db, (*MIGRATIONS, add_table))
    migrate(db, (*MIGRATIONS, add_table))

    assert marks(db) == (APPLICATION_ID, len(MIGRATIONS) + 1)


def test_older_file_is_brought_up_to_date_when_it_is_opened(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever updates LMStrix keeps what was measured."""
    with closing(open_registry(own_home, FakeClock())) as registry:
        registry.put_note("last", "m")
    grown = (*MIGRATIONS, add_table)
    monkeypatch.setattr(migrations, "MIGRATIONS", grown)
    monkeypatch.setattr("lmstrix.registry.opening.MIGRATIONS", grown)

    with closing(open_registry(own_home, FakeClock())) as registry:
        assert registry.get_note("last") == "m"

    with closing(sqlite3.connect(own_home / FILE_NAME)) as db:
        assert marks(db) == (APPLICATION_ID, len(grown))
        assert "later" in object_names(db)


def test_every_field_of_a_probe_has_a_column(registry: SQLiteRegistry) -> None:
    """A field that is added to the value needs a migration, and this is who says so."""
    columns = {row["name"] for row in registry._db.execute("PRAGMA table_info(probes)")}

    assert set(Probe.model_fields) <= columns


def test_only_one_process_creates_the_file(own_home: Path) -> None:
    """Two agents may start their servers in the same second; SQLite then fails one of them."""
    own_home.mkdir()
    path = own_home / FILE_NAME
    with (
        FileLock(f"{path}.lock"),
        pytest.raises(RegistryError, match="another process") as caught,
    ):
        SQLiteRegistry(path, clock=FakeClock(), busy_timeout_s=0.01)

    assert caught.value.hint is not None
    open_registry(own_home, FakeClock()).close()


def test_file_that_is_being_created_is_not_taken_for_a_foreign_one(own_home: Path) -> None:
    """Whose it is and what is in it are read of one moment, before or after."""
    own_home.mkdir()
    path = own_home / FILE_NAME
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as creator,
        closing(sqlite3.connect(path, isolation_level=None)) as reader,
    ):
        creator.execute("PRAGMA journal_mode = WAL")

        def create(statement: str) -> None:
            if "user_version" in statement:
                migrate(creator, MIGRATIONS)

        reader.set_trace_callback(create)

        assert check(path, reader) == 0
        assert marks(creator) == (APPLICATION_ID, len(MIGRATIONS))


def lay_down_version_1(home: Path) -> Path:
    """Write a registry as the first release did: its schema, its columns, its idea of a limit."""
    home.mkdir()
    path = home / FILE_NAME
    model = Model(key="m", backend="fake", declared_context=16_384)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        migrate(db, MIGRATIONS[:1])
        db.execute(
            "INSERT INTO models VALUES ('fake', 'm', 16384, ?, '2030-01-01T12:00:00+00:00')",
            (model.model_dump_json(exclude={"limits", "status"}),),
        )
        db.execute("INSERT INTO fingerprints VALUES (?, ?)", (HERE.digest, HERE.model_dump_json()))
        for minute, (context, outcome) in enumerate([(16_384, "passed"), (8_192, "crashed")]):
            db.execute(
                """
                INSERT INTO probes (
                    backend, model, fingerprint, requested, effective, proof, outcome,
                    started_at, ended_at, owner_pid, owner_start, owner_boot
                ) VALUES ('fake', 'm', ?, ?, ?, 'fill', ?, ?, ?, 1, 0.0, '')
                """,
                (
                    HERE.digest,
                    context,
                    context,
                    outcome,
                    f"2030-01-01T12:{minute:02}:00+00:00",
                    f"2030-01-01T12:{minute:02}:30+00:00",
                ),
            )
        limits = Limits(declared=16_384, loadable=16_384, answered=16_384, refuted=8_192)
        db.execute(
            "INSERT INTO limits VALUES ('fake', 'm', ?, 16384, 'tested', ?, 2)",
            (HERE.digest, limits.model_dump_json()),
        )
    return path


def test_file_of_the_first_release_is_read_whole(own_home: Path) -> None:
    """What was measured for days is not measured again because of an update."""
    lay_down_version_1(own_home)

    with closing(open_registry(own_home, FakeClock())) as registry:
        probes = registry.probes(model="m")

        assert [(p.requested, p.outcome) for p in probes] == [
            (16_384, Outcome.PASSED),
            (8_192, Outcome.CRASHED),
        ]
        assert {(probe.stairs, probe.confirmed) for probe in probes} == {((), False)}


def test_limits_derived_by_an_older_definition_are_derived_again(own_home: Path) -> None:
    """A single crash no longer refutes; what is shown must be what the probes prove today."""
    lay_down_version_1(own_home)

    with closing(open_registry(own_home, FakeClock())) as registry:
        [limits] = registry.limits_of("fake", "m")

        assert (limits.usable, limits.refuted) == (16_384, None)
        assert registry.verify() == []


def test_limits_marked_by_another_process_are_derived_when_the_file_is_opened(
    own_home: Path,
) -> None:
    """An older server that still runs writes its own idea of a limit, or an update was cut off."""
    path = lay_down_version_1(own_home)
    with closing(open_registry(own_home, FakeClock())):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute(
            "INSERT OR REPLACE INTO limits "
            "(backend, model, digest, declared, status, json, last_probe) "
            "SELECT backend, model, digest, declared, status, ?, last_probe FROM limits",
            (Limits(declared=16_384).model_dump_json(),),
        )

    with closing(open_registry(own_home, FakeClock())) as registry:
        assert registry.verify() == []


def test_row_that_is_not_understood_does_not_hold_up_an_update(own_home: Path) -> None:
    """One bad row must not cost the others; `verify` names it."""
    path = lay_down_version_1(own_home)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "INSERT INTO probes (backend, model, requested, proof, outcome, started_at, ended_at, "
            "owner_pid, owner_start, owner_boot) "
            "VALUES ('fake', 'n', 1, 'hunch', 'passed', 'now', 'now', 1, 0.0, '')"
        )
        db.execute("INSERT INTO limits VALUES ('fake', 'n', NULL, NULL, 'tested', '{}', 3)")

    with closing(open_registry(own_home, FakeClock())) as registry:
        assert [limits.usable for limits in registry.limits_of("fake", "m")] == [16_384]
        assert any("`n`" in line for line in registry.verify())
