"""Headers that were read before: a file that has not changed is not read again.

The cache is a file of two lines of JSON, what it is and what it remembers. It is ours to rebuild:
one that was cut short, edited or written by another version counts as empty.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, NamedTuple

from lmstrix.backends.llamacpp.gguf import Header, read_header

_VERSION: Final = 1
"""One more whenever the same bytes come to be read differently."""

_FIELDS: Final = tuple(field.name for field in fields(Header))
_values: Final = attrgetter(*_FIELDS)


class _Entry(NamedTuple):
    """A header, and the size in bytes and time of change in nanoseconds that it holds for."""

    size: int
    changed_ns: int
    header: Header


class HeaderCache:
    """Remembers headers by path, size and time of change, and in a file if it has one.

    Args:
        file: Where headers outlive this process; its folder is made when needed.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._entries: dict[str, _Entry] | None = None
        self._seen: set[str] = set()
        self._changed = False

    def read(self, path: Path | str, stat: os.stat_result | None = None) -> Header:
        """Return the header of the file at `path`, reading it only if it is not known.

        Args:
            path: The file.
            stat: What the file system says of it, if the caller has asked already.

        Raises:
            GGUFError: As `read_header`. Failures are not remembered.
        """
        name = str(path)
        if stat is None:
            try:
                stat = Path(path).stat()
            except (OSError, ValueError):
                return read_header(Path(path))
        entries = self._known()
        entry = entries.get(name)
        if entry is None or entry[:2] != (stat.st_size, stat.st_mtime_ns):
            entry = _Entry(stat.st_size, stat.st_mtime_ns, read_header(Path(path)))
            entries[name] = entry
            self._changed = True
        self._seen.add(name)
        return entry.header

    def save(self) -> None:
        """Write what is known to the file, if that has changed, and forget deleted files.

        A cache that cannot be written is no failure: the next process reads the headers again.
        """
        if self._file is None or not self._changed:
            return
        known = self._known()
        for name in [name for name in known if name not in self._seen and not Path(name).exists()]:
            del known[name]
        with suppress(OSError):
            _write(self._file, known)
            self._changed = False

    def _known(self) -> dict[str, _Entry]:
        if self._entries is None:
            self._entries = {} if self._file is None else _load(self._file)
        return self._entries


def _load(file: Path) -> dict[str, _Entry]:
    try:
        title, _, body = file.read_bytes().partition(b"\n")
        if json.loads(title) != _title(body):
            return {}
    except (OSError, ValueError):
        return {}
    return {
        name: _Entry(size, changed_ns, _header(values))
        for name, (size, changed_ns, values) in json.loads(body).items()
    }


def _header(values: list[Any]) -> Header:
    named: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in zip(_FIELDS, values, strict=True)
    }
    return Header(**named)


def _write(file: Path, known: Mapping[str, _Entry]) -> None:
    rows = {
        name: (size, changed, _values(header)) for name, (size, changed, header) in known.items()
    }
    body = json.dumps(rows, separators=(",", ":")).encode()
    file.parent.mkdir(parents=True, exist_ok=True)
    # Readers see the old file or the new one, whoever else writes and whenever this process ends.
    with NamedTemporaryFile(dir=file.parent, prefix=file.name, delete=False) as draft:
        draft.write(json.dumps(_title(body)).encode() + b"\n" + body)
    try:
        Path(draft.name).replace(file)
    except OSError:
        Path(draft.name).unlink(missing_ok=True)
        raise


def _title(body: bytes) -> dict[str, object]:
    """Return what the first line of the file says of `body`, the second."""
    return {
        "lmstrix_headers": _VERSION,
        "fields": list(_FIELDS),
        "sha256": sha256(body).hexdigest(),
    }
