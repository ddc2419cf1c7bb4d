"""The registry as an SQLite file. All queries are here, so another store replaces one module.

Threads: one connection serves every thread of the process, one at a time, under a lock; nothing
slow happens while it is held but waiting for a writer in another process. Processes: WAL mode, so
readers never wait; writers take turns, and each takes the write lock when its transaction begins,
so none fails half-way. `synchronous=FULL` flushes every commit to disk: what a method wrote before
it returned survives a power cut.

Limits are derived in the transaction that closes a probe, and stored: listing a thousand models
reads a thousand rows, however many probes there are.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from lmstrix.engine.limits import derive_limits, status_of
from lmstrix.errors import RegistryError
from lmstrix.ports import Clock
from lmstrix.registry.faults import translated
from lmstrix.registry.locking import hold
from lmstrix.registry.opening import open_database
from lmstrix.registry.owners import Owner
from lmstrix.registry.rows import (
    model_text,
    owner_row,
    probe_row,
    read_owner,
    read_probe,
    read_status,
)
from lmstrix.values import Limits, Model, Outcome, Probe, Status


class Subject(NamedTuple):
    """What limits are derived for. `digest` names the fingerprint, None that it is not known."""

    backend: str
    model: str
    digest: str | None


class SQLiteRegistry:
    """A `lmstrix.ports.Registry` in one file.

    Args:
        path: The file; its folder is created. Lock files live beside it, in `locks`.
        clock: Dates what the registry itself decides, such as when a row was swept.
        busy_timeout_s: Longest wait, in seconds, for writers in other processes.

    Raises:
        RegistryCorruptError: The file is damaged or another program's. It is left as it is.
        RegistryVersionError: The file was written by a newer LMStrix. It is left as it is.
        RegistryError: The file cannot be read or written.
    """

    def __init__(self, path: Path, *, clock: Clock, busy_timeout_s: float = 30.0) -> None:
        self.path = path
        self._clock = clock
        self._owner = Owner.current()
        self._lock = threading.RLock()
        self._db = open_database(path, busy_timeout_s=busy_timeout_s)
        self._derive_outdated()

    def put_models(self, backend: str, models: Sequence[Model]) -> None:
        """Make `models` the ones known for `backend`; probes of others are kept."""
        seen_at = self._clock.now().isoformat()
        rows = [(backend, m.key, m.declared_context, model_text(m), seen_at) for m in models]
        with self._writing() as db:
            db.execute("DELETE FROM models WHERE backend = ?", (backend,))
            db.executemany(_PUT_MODEL, rows)
            # A file may declare another context than when it was tested.
            for row in db.execute(_REDECLARED).fetchall():
                _store_limits(db, Subject(*row))

    def models(self) -> Sequence[Model]:
        """Return the known models by key, with their newest limits and status.

        The newest limits are those of the fingerprint whose probe was opened last, of the probes
        that have ended. A fingerprint with which a context works goes before one with which none
        does: a test that was asked for the impossible does not hide what is known.
        """
        with self._reading() as db:
            opened: dict[tuple[str, str], set[Owner]] = {}
            for row in db.execute(_OPEN_PROBES):
                opened.setdefault((row["backend"], row["model"]), set()).add(read_owner(row))
            # Of a model's rows the last has the limits to show; the dictionary keeps that one.
            newest = {(row["backend"], row["key"]): row for row in db.execute(_MODELS)}
            return [_model(row, opened.get(name, set())) for name, row in newest.items()]

    def open_probe(self, backend: str, probe: Probe) -> Probe:
        """Write the row of a probe that is about to start, durably; return it with its id.

        Raises:
            RegistryError: The probe has ended, or the row cannot be written: do not start it.
        """
        if probe.outcome is not None:
            raise RegistryError("a probe that has ended cannot be opened")
        row = {**probe_row(probe), **owner_row(self._owner), "backend": backend}
        with self._writing() as db:
            if probe.fingerprint is not None:
                fingerprint = (probe.fingerprint.digest, probe.fingerprint.model_dump_json())
                db.execute(_PUT_FINGERPRINT, fingerprint)
            cursor = db.execute(_OPEN, row)
        return probe.model_copy(update={"id": cursor.lastrowid})

    def close_probe(self, probe: Probe) -> None:
        """Write the end of an open probe, and the limits that follow from it.

        Raises:
            RegistryError: The probe has not ended; or no such probe is open: it was closed
                already, or what it is about is not what was opened.
        """
        if probe.outcome is None:
            raise RegistryError(f"probe {probe.id} has not ended")
        with self._writing() as db:
            _store_limits(db, _close(db, probe))

    def probes(
        self, *, backend: str | None = None, model: str | None = None, digest: str | None = None
    ) -> Sequence[Probe]:
        """Return probes in the order they were opened, of one model or fingerprint if given.

        An open row whose process is gone reads as `interrupted`, whether it was swept or not.
        """
        wanted = {"backend": backend, "model": model, "fingerprint": digest}
        with self._reading() as db:
            given = {column: value for column, value in wanted.items() if value is not None}
            return [self._read(row) for row in _select_probes(db, given)]

    def limits_of(self, backend: str, model: str) -> Sequence[Limits]:
        """Return the limits of `model`, one for each fingerprint, the newest last."""
        with self._reading() as db:
            rows = db.execute(_LIMITS_OF, (backend, model)).fetchall()
        return [Limits.model_validate_json(row["json"]) for row in rows]

    def sweep(self) -> Sequence[Probe]:
        """Close the open probes of dead processes as `interrupted`; return those."""
        with self._reading() as db:
            # Nearly always there are none, and then a reader need not wait for writers.
            if not self._orphans(db):
                return []
        with self._writing() as db:
            # Asked again: another process may have swept in between.
            orphans = self._orphans(db)
            for subject in dict.fromkeys(_close(db, probe) for probe in orphans):
                _store_limits(db, subject)
            return orphans

    def get_note(self, name: str) -> str | None:
        """Return a small remembered text, such as the last model used."""
        with self._reading() as db:
            row = db.execute("SELECT text FROM notes WHERE name = ?", (name,)).fetchone()
            return None if row is None else row["text"]

    def put_note(self, name: str, text: str) -> None:
        """Remember a small text."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO notes (name, text) VALUES (?, ?)", (name, text))

    def measuring(self, backend: str) -> AbstractContextManager[None]:
        """Hold the right to probe on `backend`, across processes.

        Raises:
            BusyError: Another process holds it, or another thread of this one.
        """
        return hold(
            self.path.parent / "locks", backend, model_of=lambda pid: self._model_of(backend, pid)
        )

    def close(self) -> None:
        """Release the file. Closing twice is not an error; using it afterwards is."""
        with self._lock, translated(self.path):
            self._db.close()

    def limits(self, backend: str, model: str, digest: str | None) -> Limits | None:
        """Return the stored limits of `model` for one fingerprint, or None if there are none."""
        with self._reading() as db:
            stored = _stored(db, Subject(backend, model, digest))
            return stored[0] if stored else None

    def verify(self) -> list[str]:
        """Return what is wrong with the registry, a line each; nothing is changed.

        Checks every page, reads every row and derives every limit again: time grows with the
        number of probes.
        """
        problems: list[str] = []
        try:
            with self._reading() as db:
                checked = db.execute("PRAGMA integrity_check").fetchall()
                problems += [line for (line,) in checked if line != "ok"]
                subjects = [Subject(*row) for row in db.execute(_SUBJECTS)]
            self.models()
        except RegistryError as error:
            return [*problems, str(error)]
        return problems + [line for subject in subjects for line in self._verify(subject)]

    def _verify(self, subject: Subject) -> list[str]:
        where = f"`{subject.model}` on `{subject.backend}`"
        try:
            with self._reading() as db:
                stored, derived = _stored(db, subject), _derive(db, subject)
        except RegistryError as error:
            return [f"{where}: {error}"]
        if stored == derived:
            return []
        return [f"{where}: the stored limits are not what its probes prove"]

    def _derive_outdated(self) -> None:
        """Derive the limits again whose definition has changed since they were stored."""
        with self._reading() as db:
            # Nearly always there are none, and then a reader need not wait for writers.
            if db.execute(_OUTDATED).fetchone() is None:
                return
        with self._writing() as db:
            for row in db.execute(_OUTDATED).fetchall():
                with suppress(ValidationError):  # `verify` tells of rows that are not understood
                    _store_limits(db, Subject(*row))

    def _read(self, row: sqlite3.Row) -> Probe:
        probe = read_probe(row, row["fingerprint_json"])
        if probe.outcome is None and not (owner := read_owner(row)).is_alive():
            return _interrupted(probe, owner, self._clock.now())
        return probe

    def _orphans(self, db: sqlite3.Connection) -> list[Probe]:
        opened = [self._read(row) for row in db.execute(_OPEN_PROBES)]
        return [probe for probe in opened if probe.outcome is not None]

    def _model_of(self, backend: str, pid: int) -> str | None:
        with self._reading() as db:
            owned = {(row["backend"], row["owner_pid"]): row for row in db.execute(_OPEN_PROBES)}
            return owned[backend, pid]["model"] if (backend, pid) in owned else None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self.path), self._db as db:
            db.execute("BEGIN")  # what is read belongs together, whatever others write meanwhile
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, translated(self.path), self._db as db:
            # IMMEDIATE waits for the write lock here; a lock asked for later may be refused.
            db.execute("BEGIN IMMEDIATE")
            yield db


def _select_probes(db: sqlite3.Connection, wanted: Mapping[str, str | None]) -> list[sqlite3.Row]:
    """Return the rows of probes whose columns are as `wanted`; None stands for NULL."""
    conditions = " AND ".join(f"{column} IS :{column}" for column in wanted) or "TRUE"
    query = f"{_PROBES} WHERE {conditions} ORDER BY id"
    return db.execute(query, wanted).fetchall()


def _close(db: sqlite3.Connection, probe: Probe) -> Subject:
    """Write the end of an open probe; return what its limits are to be derived for."""
    row = probe_row(probe)
    if db.execute(_CLOSE, row).rowcount == 0:
        raise RegistryError(f"probe {probe.id} of `{probe.model}` is not open")
    (backend,) = db.execute("SELECT backend FROM probes WHERE id = ?", (probe.id,)).fetchone()
    return Subject(backend, probe.model, row["fingerprint"])


def _interrupted(probe: Probe, owner: Owner, now: datetime) -> Probe:
    detail = f"process {owner.pid}, which began it at {probe.started_at.isoformat()}, is gone"
    end = {"outcome": Outcome.INTERRUPTED, "detail": detail, "ended_at": now}
    return probe.model_copy(update=end)


def _derive(db: sqlite3.Connection, subject: Subject) -> tuple[Limits, Status, int] | None:
    """Return the limits, the status and the last probe of `subject`; None if no probe ended."""
    wanted = {"backend": subject.backend, "model": subject.model, "fingerprint": subject.digest}
    rows = [read_probe(row, row["fingerprint_json"]) for row in _select_probes(db, wanted)]
    ended = [probe for probe in rows if probe.outcome is not None]
    if not ended:
        return None
    last = ended[-1]
    limits = derive_limits(_declared(db, subject), ended, fingerprint=last.fingerprint)
    return limits, status_of(ended, limits), last.id or 0


def _stored(db: sqlite3.Connection, subject: Subject) -> tuple[Limits, Status, int] | None:
    if (row := _limits_row(db, subject)) is None:
        return None
    limits = Limits.model_validate_json(row["json"])
    return limits, read_status(row["status"]), row["last_probe"]


def _store_limits(db: sqlite3.Connection, subject: Subject) -> None:
    if derived := _derive(db, subject):
        limits, status, last = derived
        text = limits.model_dump_json()
        db.execute(_PUT_LIMITS, (*subject, limits.declared, status, text, last))


def _declared(db: sqlite3.Connection, subject: Subject) -> int | None:
    """Return what the model declares, or declared when it was last known."""
    known = "SELECT declared FROM models WHERE backend = ? AND key = ?"
    row = db.execute(known, subject[:2]).fetchone() or _limits_row(db, subject)
    return None if row is None else row["declared"]


def _limits_row(db: sqlite3.Connection, subject: Subject) -> sqlite3.Row | None:
    row: sqlite3.Row | None = db.execute(_LIMITS, subject._asdict()).fetchone()
    return row


def _model(row: sqlite3.Row, owners: Collection[Owner]) -> Model:
    status = read_status(row["status"]) if row["status"] else Status.UNTESTED
    if any(owner.is_alive() for owner in owners):
        status = Status.TESTING
    elif owners and status is not Status.TESTED:
        status = Status.INTERRUPTED
    limits = Limits.model_validate_json(row["limits"]) if row["limits"] else None
    model = Model.model_validate_json(row["json"])
    return model.model_copy(update={"limits": limits, "status": status})


_PUT_MODEL = """
INSERT OR REPLACE INTO models (backend, key, declared, json, seen_at) VALUES (?, ?, ?, ?, ?)
"""

_MODELS = """
SELECT m.backend, m.key, m.json, l.json AS limits, l.status
FROM models m LEFT JOIN limits l ON l.backend = m.backend AND l.model = m.key
ORDER BY m.key, m.backend, l.status = 'tested', l.last_probe
"""

_PUT_FINGERPRINT = "INSERT OR IGNORE INTO fingerprints (digest, json) VALUES (?, ?)"

_OPEN = """
INSERT INTO probes (
    backend, model, fingerprint, requested, effective, proof, outcome, detail, prompt_tokens,
    load_s, ttft_s, prefill_tps, decode_tps, memory_bytes, recall, stairs, confirmed, started_at,
    ended_at, owner_pid, owner_start, owner_boot
) VALUES (
    :backend, :model, :fingerprint, :requested, :effective, :proof, :outcome, :detail,
    :prompt_tokens, :load_s, :ttft_s, :prefill_tps, :decode_tps, :memory_bytes, :recall,
    :stairs, :confirmed, :started_at, :ended_at, :owner_pid, :owner_start, :owner_boot
)
"""

_CLOSE = """
UPDATE probes SET
    effective = :effective, outcome = :outcome, detail = :detail, prompt_tokens = :prompt_tokens,
    load_s = :load_s, ttft_s = :ttft_s, prefill_tps = :prefill_tps, decode_tps = :decode_tps,
    memory_bytes = :memory_bytes, recall = :recall, stairs = :stairs, confirmed = :confirmed,
    ended_at = :ended_at
WHERE id = :id AND outcome IS NULL AND model = :model AND fingerprint IS :fingerprint
    AND requested = :requested AND proof = :proof AND started_at = :started_at
"""

_PROBES = """
SELECT probes.*, fingerprints.json AS fingerprint_json
FROM probes LEFT JOIN fingerprints ON digest = fingerprint
"""

_OPEN_PROBES = f"{_PROBES} WHERE outcome IS NULL ORDER BY id"

_SUBJECTS = """
SELECT backend, model, fingerprint FROM probes
UNION SELECT backend, model, digest FROM limits
"""

_PUT_LIMITS = """
INSERT OR REPLACE INTO limits (
    backend, model, digest, declared, status, json, last_probe, outdated
) VALUES (?, ?, ?, ?, ?, ?, ?, 0)
"""

_OUTDATED = "SELECT backend, model, digest FROM limits WHERE outdated"

_LIMITS = """
SELECT declared, status, json, last_probe FROM limits
WHERE backend = :backend AND model = :model AND ifnull(digest, '') = ifnull(:digest, '')
"""

_LIMITS_OF = "SELECT json FROM limits WHERE backend = ? AND model = ? ORDER BY last_probe"

_REDECLARED = """
SELECT l.backend, l.model, l.digest
FROM limits l JOIN models m ON m.backend = l.backend AND m.key = l.model
WHERE m.declared IS NOT l.declared
"""
