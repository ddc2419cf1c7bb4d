"""What goes wrong with the file, in our own words: by SQLite's code, never by its message."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from lmstrix.errors import RegistryCorruptError, RegistryError

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_BARRED = "make {folder} writable, or point LMSTRIX_HOME at another folder"
_WAIT = "end the other program that writes to the registry, then try again"
_HINTS = {
    sqlite3.SQLITE_AUTH: _BARRED,
    sqlite3.SQLITE_BUSY: _WAIT,
    sqlite3.SQLITE_CANTOPEN: _BARRED,
    sqlite3.SQLITE_FULL: "free some space on the disk that holds {folder}",
    sqlite3.SQLITE_IOERR: "check the disk that holds {folder}",
    sqlite3.SQLITE_LOCKED: _WAIT,
    sqlite3.SQLITE_PERM: _BARRED,
    sqlite3.SQLITE_READONLY: _BARRED,
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite, the disk and the rows' validation raise into `RegistryError`s.

    Raises:
        RegistryCorruptError: The file is damaged, or a row in it cannot be understood.
        RegistryError: Anything else that keeps the file from being read or written.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise _fault(path, error) from error
    except ValidationError as error:
        raise RegistryCorruptError(path, _first(error)) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise RegistryError(f"a value does not fit the registry: {error}") from error
    except OSError as error:
        hint = _BARRED.format(folder=path.parent)
        raise RegistryError(f"{path} cannot be opened: {error.strerror}", hint=hint) from error


def _fault(path: Path, error: sqlite3.Error) -> RegistryError:
    # Errors of the Python module itself, such as use after close, carry no code. The low byte is
    # the primary code; the rest only says in which call it came up.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in _DAMAGED:
        return RegistryCorruptError(path, str(error))
    hint = _HINTS.get(code)
    return RegistryError(
        f"{path} cannot be read or written: {error}",
        hint=hint.format(folder=path.parent) if hint else None,
    )


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in (error.title, *problem["loc"]))
    return f"a row cannot be understood: `{where}`: {problem['msg']}"
