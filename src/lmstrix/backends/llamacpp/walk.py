"""A forward walk over the bytes of a file that nobody vouches for.

Whatever lengths and counts the file claims, the walk holds one window in memory, and ends: each
claim is checked against the bytes left before anything is allocated or repeated, and the items and
bytes of a whole walk are bounded. The file is read rather than mapped: a mapped file that another
process cuts short kills this one.
"""

import os
from hashlib import sha256
from pathlib import Path
from struct import Struct
from struct import error as StructError  # noqa: N812 - a class, named in lower case there
from typing import BinaryIO, ClassVar, Final, NoReturn

from lmstrix.errors import BackendError

U32: Final = Struct("<I")
U64: Final = Struct("<Q")

_FIRST_WINDOW: Final = 64 * 1024
_WINDOW: Final = 4 * 1024 * 1024
_MOST_TEXT: Final = 1024 * 1024
_MOST_READ: Final = 256 * 1024 * 1024
_MOST_ITEMS: Final = 4 * 1024 * 1024


class GGUFError(BackendError):
    """A model file cannot be read, or is not a GGUF file that llama.cpp would load.

    `reason` says what is wrong, without the path.
    """

    code: ClassVar[str] = "model-file"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be used as a model: {reason}")
        self.path = path
        self.reason = reason


class Walk:
    """Reads an open file from its start, forwards.

    `position` and `size` are in bytes. What `take` and `text` pass over goes into the digest.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.size = os.fstat(file.fileno()).st_size
        self._file = file
        self._path = path
        self._window = b""
        self._start = 0
        self._offset = 0
        self._read = 0
        self._items = 0
        self._digest = sha256()

    @property
    def position(self) -> int:
        """Bytes from the start of the file to what comes next."""
        return self._start + self._offset

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of what was taken so far."""
        return self._digest.hexdigest()

    def fail(self, reason: str) -> NoReturn:
        """Give the file up.

        Raises:
            GGUFError: Always.
        """
        raise GGUFError(self._path, reason)

    def count(self, claimed: int, *, each: int, of: str) -> int:
        """Return `claimed`, the number of items ahead that take at least `each` bytes apiece.

        Raises:
            GGUFError: The file has no room for so many, or they are too many to walk.
        """
        if claimed > (self.size - self.position) // each:
            self.fail(f"it claims {claimed} {of}, more than fit into the file")
        self._items += claimed
        if self._items > _MOST_ITEMS:
            self.fail(f"its header has more than {_MOST_ITEMS} entries")
        return claimed

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes, a window's worth at most."""
        self._need(length)
        taken = self._window[self._offset : self._offset + length]
        self._offset += length
        self._digest.update(taken)
        return taken

    def integer(self, layout: Struct) -> int:
        """Return the next integer, laid out as the one field of `layout`."""
        return int(self.number(layout))

    def number(self, layout: Struct) -> int | float:
        """Return the next number, laid out as the one field of `layout`."""
        number: int | float = layout.unpack(self.take(layout.size))[0]
        return number

    def text(self) -> bytes:
        """Return the next string, or its first MiB; the walk goes on behind the whole of it."""
        length = self.integer(U64)
        taken = self.take(min(length, _MOST_TEXT))
        self.skip(length - len(taken))
        return taken

    def skip(self, length: int) -> None:
        """Pass over `length` bytes without reading them."""
        self.go(self.position + length)

    def go(self, position: int) -> None:
        """Continue at `position`.

        Raises:
            GGUFError: That is behind the end of the file.
        """
        if position > self.size:
            self.fail(f"it ends after {self.size} bytes, within its header")
        self._offset = position - self._start
        if not 0 <= self._offset <= len(self._window):
            self._start, self._offset, self._window = position, 0, b""

    def skip_strings(self, count: int) -> None:
        """Pass over `count` strings, reading only their lengths.

        This is the hot loop: a vocabulary has a quarter of a million of them.
        """
        unpack = U64.unpack_from
        while count:
            self._need(U64.size)
            window, offset, passed = self._window, self._offset, 0
            try:
                for passed in range(count):  # noqa: B007 - read below, when the window ends
                    offset += unpack(window, offset)[0] + 8
            except (StructError, OverflowError):
                count -= passed
            else:
                count = 0
            self.go(self._start + offset)

    def _need(self, length: int) -> None:
        """Have the next `length` bytes in the window."""
        if self._offset + length <= len(self._window):
            return
        start = self.position
        if start + length > self.size:
            self.fail(f"it ends after {self.size} bytes, within its header")
        wanted = max(length, _WINDOW if start else _FIRST_WINDOW)
        self._read += wanted
        if self._read > _MOST_READ:
            self.fail(f"its header takes more than {_MOST_READ} bytes")
        self._file.seek(start)
        self._window, self._start, self._offset = self._file.read(wanted), start, 0
        if len(self._window) < length:
            self.fail("it was cut short while it was read")


def os_reason(error: OSError) -> str:
    """Return why the file system refused, in our voice."""
    return (error.strerror or str(error)).lower()
