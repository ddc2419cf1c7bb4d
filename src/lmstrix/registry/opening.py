"""Open a registry file, or say why not. A file that is not ours to write is not touched.

What the file is, is found out over a read-only connection, so that a damaged, foreign or newer file
keeps every byte, and so does a journal beside it; SQLite may leave an empty journal there. That
costs a millisecond; reading every page would cost more the longer LMStrix is used, and is left to
`SQLiteRegistry.verify`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lmstrix.errors import RegistryCorruptError, RegistryError, RegistryVersionError
from lmstrix.registry.faults import translated
from lmstrix.registry.migrations import (
    APPLICATION_ID,
    MIGRATIONS,
    expected_names,
    migrate,
    object_names,
)


def open_database(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Return a connection to the registry at `path`, created or brought up to date if need be.

    The connection commits by itself outside `BEGIN`, may be used from any thread (one at a time),
    and waits `busy_timeout_s` seconds for writers in other processes.

    Raises:
        RegistryCorruptError: The file is damaged, or not a registry.
        RegistryVersionError: The file was written by a newer LMStrix.
        RegistryError: The file cannot be read or written.
    """
    with translated(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _found_version(path, busy_timeout_s) < len(MIGRATIONS):
            with _alone(path, busy_timeout_s), closing(_connect(path, busy_timeout_s)) as db:
                # WAL: readers never wait, and one fsync makes a commit durable.
                db.execute("PRAGMA journal_mode = WAL")
                migrate(db, MIGRATIONS)
        return _connect(path, busy_timeout_s)


def _connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False
    )
    db.row_factory = sqlite3.Row
    try:
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        db.close()
        raise
    return db


@contextmanager
def _alone(path: Path, timeout_s: float) -> Iterator[None]:
    # Changing to WAL fails at once, without waiting, while another process does the same.
    try:
        with FileLock(f"{path}.lock", timeout=timeout_s):
            yield
    except Timeout as error:
        raise RegistryError(
            f"{path} is being created or brought up to date by another process",
            hint="end that process, then try again",
        ) from error


def _found_version(path: Path, busy_timeout_s: float) -> int:
    """Return the schema version of the file at `path`; 0 if there is none, or nothing in it."""
    if not path.exists() or path.stat().st_size == 0:
        return 0
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(
        sqlite3.connect(uri, uri=True, timeout=busy_timeout_s, isolation_level=None)
    ) as db:
        return check(path, db)


def check(path: Path, db: sqlite3.Connection) -> int:
    """Return the schema version of `db`, the file at `path`; 0 if nothing is in it.

    Raises:
        RegistryCorruptError: It is another program's, or something is missing from it.
        RegistryVersionError: It was written by a newer LMStrix.
    """
    db.execute("BEGIN")  # another process may be creating it: see all of that or nothing
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    names = object_names(db)
    if application != APPLICATION_ID and (application or version or names):
        raise RegistryCorruptError(path, "it belongs to another program")
    if version > len(MIGRATIONS):
        raise RegistryVersionError(path, version, len(MIGRATIONS))
    if version == len(MIGRATIONS) and (missing := sorted(expected_names() - names)):
        raise RegistryCorruptError(path, f"`{missing[0]}` is missing")
    return int(version)
