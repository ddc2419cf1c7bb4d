"""A file that is damaged, foreign or newer is an error with a remedy; no byte of it changes."""

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from lmstrix.errors import RegistryCorruptError, RegistryError, RegistryVersionError
from lmstrix.registry import FILE_NAME, SQLiteRegistry, open_registry
from lmstrix.testing import FakeClock
from lmstrix.values import Model
from registry.registry_children import HERE, ended, probe_at, probe_in_the_future, run


def fill(home: Path) -> Path:
    """Write a sound registry into `home`; return its file."""
    with closing(open_registry(home, FakeClock())) as registry:
        models = [Model(key=f"model-{number}", backend="fake") for number in range(200)]
        registry.put_models("fake", models)
        registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    return home / FILE_NAME


def replaced_by_text(file: Path) -> None:
    """Someone saved something else under this name."""
    file.write_text('{"llms": {}}', encoding="utf-8")


def truncated(file: Path) -> None:
    """A copy was cut short."""
    file.write_bytes(file.read_bytes()[:9_000])


def cut_within_the_header(file: Path) -> None:
    """A copy hardly began."""
    file.write_bytes(file.read_bytes()[:50])


def first_page_overwritten(file: Path) -> None:
    """A disk returned garbage, but for the first bytes."""
    content = file.read_bytes()
    file.write_bytes(content[:100] + b"\xa5" * 3_996 + content[4_096:])


def without_its_guards(file: Path) -> None:
    """Someone dropped the trigger that keeps probes."""
    with closing(sqlite3.connect(file)) as db:
        db.execute("DROP TRIGGER probes_are_never_deleted")


def of_another_program(file: Path) -> None:
    """A browser's history landed here."""
    file.unlink()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE visits (url TEXT)")


def marked_by_another_program(file: Path) -> None:
    """The same, by a program that marks its files."""
    of_another_program(file)
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA application_id = 7")


def marked_by_another_program_before_it_wrote(file: Path) -> None:
    """The same, before it made a table."""
    file.unlink()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA application_id = 7")


DAMAGES = [
    replaced_by_text,
    truncated,
    cut_within_the_header,
    first_page_overwritten,
    without_its_guards,
    of_another_program,
    marked_by_another_program,
    marked_by_another_program_before_it_wrote,
]


def contents(home: Path) -> dict[str, bytes]:
    """Return what the files in `home` hold; SQLite's `-shm` is scratch that it makes anew."""
    files = [path for path in home.iterdir() if path.is_file() and not path.match("*-shm")]
    return {path.name: content for path in files if (content := path.read_bytes())}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_or_foreign_file_is_refused_and_left_as_it_is(
    damage: Callable[[Path], None], own_home: Path
) -> None:
    """What cannot be read today may be saved tomorrow, unless we write over it."""
    file = fill(own_home)
    damage(file)
    before = contents(own_home)

    with pytest.raises(RegistryCorruptError) as caught:
        open_registry(own_home, FakeClock())

    assert contents(own_home) == before
    assert str(file) in str(caught.value)
    assert caught.value.hint is not None
    assert str(file) in caught.value.hint


def test_moving_a_damaged_file_away_as_the_hint_says_starts_a_new_registry(own_home: Path) -> None:
    """A hint is a step that works."""
    file = fill(own_home)
    truncated(file)
    file.rename(f"{file}.damaged")

    with closing(open_registry(own_home, FakeClock())) as registry:
        assert registry.probes() == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_newer_file_is_refused_and_left_as_it_is(own_home: Path) -> None:
    """An older program must not fold a newer one's journal, let alone write to its tables."""
    run(probe_in_the_future, own_home)
    before = contents(own_home)
    assert before[f"{FILE_NAME}-wal"]

    with pytest.raises(RegistryVersionError) as caught:
        open_registry(own_home, FakeClock())

    assert contents(own_home) == before
    assert caught.value.hint is not None
    assert "update LMStrix" in caught.value.hint


@pytest.mark.parametrize("content", [None, b""], ids=["missing", "empty"])
def test_missing_or_empty_file_becomes_a_registry(content: bytes | None, tmp_path: Path) -> None:
    """The first run creates what it needs, folders included."""
    home = tmp_path / "some" / "where"
    if content is not None:
        home.mkdir(parents=True)
        (home / FILE_NAME).write_bytes(content)

    with closing(open_registry(home, FakeClock())) as registry:
        registry.put_note("last", "m")

    with closing(open_registry(home, FakeClock())) as registry:
        assert registry.get_note("last") == "m"


def test_sound_registry_verifies(registry: SQLiteRegistry) -> None:
    """`doctor` has nothing to report."""
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    registry.open_probe("fake", probe_at(8_192))

    assert registry.verify() == []


def test_verify_reports_limits_that_the_probes_do_not_prove(registry: SQLiteRegistry) -> None:
    """A number that nobody saw is the worst thing a registry can hold."""
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    registry._db.execute("UPDATE limits SET json = replace(json, '4096', '9999')")
    registry._db.execute("UPDATE limits SET model = 'n'")

    problems = registry.verify()

    assert ["`m`" in line for line in problems] == [True, False]
    assert ["`n`" in line for line in problems] == [False, True]


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE probes SET proof = 'hope' WHERE outcome IS NULL",
        "UPDATE fingerprints SET json = '{'",
        "UPDATE models SET json = '{}'",
        "UPDATE limits SET status = 'fine'",
    ],
)
def test_row_that_cannot_be_understood_is_corruption(registry: SQLiteRegistry, spoil: str) -> None:
    """It is reported as what it is, not as a crash of ours."""
    registry.put_models("fake", [Model(key="m", backend="fake")])
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    registry.open_probe("fake", probe_at(8_192))
    registry._db.execute(spoil)

    with pytest.raises(RegistryCorruptError):
        (registry.probes(), registry.models())
    assert registry.verify() != []


@pytest.mark.parametrize("table", ["notes", "probes_by_model", "limits", "models"])
def test_verify_reports_damaged_pages(table: str, own_home: Path) -> None:
    """Opening stays fast by not reading them; `doctor` does."""
    file = fill(own_home)
    with closing(sqlite3.connect(file)) as db:
        (page,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)
        ).fetchone()
    content = bytearray(file.read_bytes())
    content[(page - 1) * 4_096 : page * 4_096] = b"\xa5" * 4_096
    file.write_bytes(content)

    with closing(open_registry(own_home, FakeClock())) as registry:
        assert registry.verify() != []


def test_registry_verifies_after_a_tested_model_is_gone(registry: SQLiteRegistry) -> None:
    """What the model declared is remembered with its limits."""
    registry.put_models("fake", [Model(key="m", backend="fake", declared_context=8_192)])
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))
    registry.put_models("fake", [])

    assert registry.verify() == []


@pytest.mark.parametrize(
    "statement", ["DELETE FROM probes", "UPDATE probes SET effective = 9 WHERE outcome = 'passed'"]
)
def test_probes_are_append_only_by_law_of_the_file(
    registry: SQLiteRegistry, statement: str
) -> None:
    """Not even a bug of ours can take evidence away."""
    registry.close_probe(ended(registry.open_probe("fake", probe_at(4_096))))

    with pytest.raises(sqlite3.IntegrityError), registry._db:
        registry._db.execute(statement)

    assert [probe.effective for probe in registry.probes()] == [4_096]


def test_end_that_is_about_something_else_is_refused(registry: SQLiteRegistry) -> None:
    """What a probe is about is said when it is opened."""
    opened = registry.open_probe("fake", probe_at(4_096))

    with pytest.raises(RegistryError):
        registry.close_probe(ended(opened).model_copy(update={"requested": 8_192}))

    assert registry.probes() == [opened]
    assert registry.limits("fake", "m", HERE.digest) is None


def test_probe_that_has_ended_cannot_be_opened(registry: SQLiteRegistry) -> None:
    """The journal is written before, or it is no journal."""
    with pytest.raises(RegistryError):
        registry.open_probe("fake", ended(probe_at(4_096)))
