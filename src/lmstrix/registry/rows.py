"""Values to rows and back. A row that cannot be understood raises pydantic's `ValidationError`."""

import sqlite3
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter

from lmstrix.registry.owners import Owner
from lmstrix.values import Fingerprint, Model, Probe, RecallScore, Stair, Status

_STATUS = TypeAdapter(Status)
_STAIRS = TypeAdapter(tuple[Stair, ...])


def probe_row(probe: Probe) -> dict[str, Any]:
    """Return the columns of `probe`; its fingerprint as the digest."""
    row = probe.model_dump(mode="json", exclude={"fingerprint", "recall", "stairs"})
    row["fingerprint"] = probe.fingerprint.digest if probe.fingerprint else None
    row["recall"] = probe.recall.model_dump_json() if probe.recall else None
    row["stairs"] = _STAIRS.dump_json(probe.stairs).decode() if probe.stairs else None
    return row


def read_probe(row: sqlite3.Row, fingerprint: str | None) -> Probe:
    """Return the probe in `row`, made with the `fingerprint` of this JSON text."""
    fields = {name: row[name] for name in Probe.model_fields}
    fields["fingerprint"] = read_fingerprint(fingerprint) if fingerprint else None
    if row["recall"] is not None:
        fields["recall"] = RecallScore.model_validate_json(row["recall"])
    fields["stairs"] = _STAIRS.validate_json(row["stairs"]) if row["stairs"] else ()
    return Probe.model_validate(fields)


@lru_cache(maxsize=256)
def read_fingerprint(text: str) -> Fingerprint:
    """Return the fingerprint in this JSON text. Many probes share few fingerprints."""
    return Fingerprint.model_validate_json(text)


def read_status(text: str) -> Status:
    """Return the status of this name."""
    return _STATUS.validate_python(text)


def model_text(model: Model) -> str:
    """Return what a runtime said of `model` as JSON: without what the registry itself knows."""
    return model.model_dump_json(exclude={"limits", "status"})


def owner_row(owner: Owner) -> dict[str, Any]:
    """Return the columns of `owner`."""
    return {"owner_pid": owner.pid, "owner_start": owner.start, "owner_boot": owner.boot}


def read_owner(row: sqlite3.Row) -> Owner:
    """Return the owner in `row`."""
    return Owner(pid=row["owner_pid"], start=row["owner_start"], boot=row["owner_boot"])
