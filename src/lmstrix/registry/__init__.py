"""The registry: what was measured, in one SQLite file that many processes share."""

from pathlib import Path

from lmstrix.ports import Clock
from lmstrix.registry.sqlite import SQLiteRegistry

__all__ = ["FILE_NAME", "SQLiteRegistry", "open_registry"]

FILE_NAME = "registry.sqlite3"


def open_registry(home: Path, clock: Clock) -> SQLiteRegistry:
    """Open the registry in `home`; folder and file are created if they are not there.

    Raises:
        RegistryCorruptError: The file is damaged or another program's. It is left as it is.
        RegistryVersionError: The file was written by a newer LMStrix. It is left as it is.
        RegistryError: The file cannot be read or written.
    """
    return SQLiteRegistry(home / FILE_NAME, clock=clock)
