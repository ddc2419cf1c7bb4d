"""The schema, as the steps that led to it. Append only: a step that shipped is never edited."""

import sqlite3
from collections.abc import Callable, Sequence

APPLICATION_ID = 0x4C4D_5358
"""`LMSX`: marks an SQLite file as a registry of ours."""

Migration = Callable[[sqlite3.Connection], None]


def migrate(db: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring `db` up to date: every missing step and the book about them in one transaction."""
    with db:
        db.execute("BEGIN IMMEDIATE")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        for number, step in enumerate(migrations[version:], start=version + 1):
            step(db)
            db.execute(f"PRAGMA user_version = {number}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def object_names(db: sqlite3.Connection) -> frozenset[str]:
    """Return the names of the tables, indexes and triggers in `db`."""
    return frozenset(name for (name,) in db.execute("SELECT name FROM sqlite_master"))


def expected_names() -> frozenset[str]:
    """Return the names that a registry of the newest schema has."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(db, MIGRATIONS)
        return object_names(db)
    finally:
        db.close()


def _create(db: sqlite3.Connection) -> None:
    """Lay down models, fingerprints, probes, limits and notes.

    No STRICT tables: system libraries before SQLite 3.37 are still about, and every row is
    validated when it is read.
    """
    for statement in _FIRST_SCHEMA:
        db.execute(statement)


_FIRST_SCHEMA = (
    """
    CREATE TABLE models (
        backend TEXT NOT NULL,
        key TEXT NOT NULL,
        declared INTEGER,
        json TEXT NOT NULL,
        seen_at TEXT NOT NULL,
        PRIMARY KEY (backend, key)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE fingerprints (
        digest TEXT NOT NULL PRIMARY KEY,
        json TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE probes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        fingerprint TEXT REFERENCES fingerprints (digest),
        requested INTEGER NOT NULL,
        effective INTEGER,
        proof TEXT NOT NULL,
        outcome TEXT,
        detail TEXT,
        prompt_tokens INTEGER,
        load_s REAL,
        ttft_s REAL,
        prefill_tps REAL,
        decode_tps REAL,
        memory_bytes INTEGER,
        recall TEXT,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        owner_pid INTEGER NOT NULL,
        owner_start REAL NOT NULL,
        owner_boot TEXT NOT NULL,
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    )
    """,
    "CREATE INDEX probes_by_model ON probes (model, backend, fingerprint)",
    "CREATE INDEX open_probes ON probes (id) WHERE outcome IS NULL",
    """
    CREATE TRIGGER probes_are_never_deleted BEFORE DELETE ON probes
    BEGIN SELECT RAISE (ABORT, 'probes are append-only'); END
    """,
    """
    CREATE TRIGGER closed_probes_never_change BEFORE UPDATE ON probes
    WHEN OLD.outcome IS NOT NULL
    BEGIN SELECT RAISE (ABORT, 'a closed probe never changes'); END
    """,
    """
    CREATE TABLE limits (
        backend TEXT NOT NULL,
        model TEXT NOT NULL,
        digest TEXT REFERENCES fingerprints (digest),
        declared INTEGER,
        status TEXT NOT NULL,
        json TEXT NOT NULL,
        last_probe INTEGER NOT NULL REFERENCES probes (id)
    )
    """,
    # An expression, because NULLs are all distinct to a plain UNIQUE.
    "CREATE UNIQUE INDEX limits_by_model ON limits (backend, model, ifnull (digest, ''))",
    """
    CREATE TABLE notes (
        name TEXT NOT NULL PRIMARY KEY,
        text TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)


def _keep_stairs(db: sqlite3.Connection) -> None:
    """Let a probe tell what was seen at each depth, and whether its failure was confirmed."""
    db.execute("ALTER TABLE probes ADD COLUMN stairs TEXT")
    db.execute("ALTER TABLE probes ADD COLUMN confirmed INTEGER NOT NULL DEFAULT 0")


def _mark_outdated_limits(db: sqlite3.Connection) -> None:
    """Mark the limits whose definition has changed since they were derived.

    Deriving is left to whoever opens the file: a step must not depend on code that goes on
    changing. A later change of the definition needs a step that sets the mark again. The mark is
    the default, so that an older LMStrix that still runs leaves marked what it derives.
    """
    db.execute("ALTER TABLE limits ADD COLUMN outdated INTEGER NOT NULL DEFAULT 1")
    db.execute("CREATE INDEX outdated_limits ON limits (last_probe) WHERE outdated")


MIGRATIONS: tuple[Migration, ...] = (_create, _keep_stairs, _mark_outdated_limits)
"""Every step, in order; the schema version is their number."""
