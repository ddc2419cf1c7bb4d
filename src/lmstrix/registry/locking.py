"""The right to measure on a runtime: one process at a time, freed by the system if it dies."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from filelock import FileLock, Timeout

from lmstrix.errors import BusyError, RegistryError


@contextmanager
def hold(folder: Path, backend: str, *, model_of: Callable[[int], str | None]) -> Iterator[None]:
    """Hold the right to measure on `backend`, without waiting for it.

    Args:
        folder: Where the lock files are; created if it is not there.
        backend: The runtime.
        model_of: Tells which model a process id is measuring, if it is known.

    Raises:
        BusyError: It is held already, by another process or another thread of this one.
        RegistryError: The lock file cannot be written.
    """
    name = quote(backend, safe="")
    holder = folder / f"{name}.pid"
    lock = FileLock(folder / f"{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
    except Timeout as error:
        raise _busy(backend, _read_pid(holder), model_of) from error
    except OSError as error:
        raise RegistryError(
            f"{lock.lock_file} cannot be locked: {error.strerror}",
            hint=f"make {folder} writable, or point LMSTRIX_HOME at another folder",
        ) from error
    try:
        _write_pid(holder)
        yield
    finally:
        with suppress(OSError):
            holder.unlink()
        lock.release()


def _write_pid(holder: Path) -> None:
    # Beside the lock: Windows lets nobody read a locked file. It only serves the others' message,
    # so failing to write it must not stop a measurement.
    with suppress(OSError):
        holder.write_text(str(os.getpid()), encoding="ascii")


def _read_pid(holder: Path) -> int | None:
    try:
        return int(holder.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _busy(backend: str, pid: int | None, model_of: Callable[[int], str | None]) -> BusyError:
    if pid is None:
        return BusyError(
            f"another process is measuring on `{backend}`",
            hint="wait until it ends, then try again",
        )
    who = "this process" if pid == os.getpid() else f"process {pid}"
    model = model_of(pid)
    what = f" `{model}`" if model else ""
    return BusyError(
        f"{who} is already measuring{what} on `{backend}`",
        hint="wait until it ends, then try again"
        if pid == os.getpid()
        else f"wait until it ends, or stop it: `kill {pid}`",
    )
