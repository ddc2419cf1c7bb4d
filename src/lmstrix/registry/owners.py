"""Who opened a probe, and whether that process is still there.

A process id alone is not enough: ids are used again. Nor is the time of day at which the process
started: on Linux it moves whenever the clock is set. So an owner is known by id, start and, where
the system names its boots, boot.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TOLERANCE_S = 2.0  # Linux rounds the time of boot to seconds, and not always the same way


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A process that opens probes.

    `start` is in seconds: since boot if `boot` names one, else since the epoch.
    """

    pid: int
    start: float
    boot: str

    @classmethod
    def current(cls) -> Self:
        """Return this process."""
        boot = _boot()
        return cls(pid=os.getpid(), start=_start(psutil.Process(), boot), boot=boot)

    def is_alive(self) -> bool:
        """Whether the process still runs. One that may not be asked about is taken to run."""
        boot = _boot()
        if boot != self.boot:
            return False
        try:
            process = psutil.Process(self.pid)
            # A killed process whose parent has not noticed yet will never close its probe.
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return abs(_start(process, boot) - self.start) < _TOLERANCE_S
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start(process: psutil.Process, boot: str) -> float:
    # After a reboot the epoch start differs by itself; the start since boot needs the boot's name.
    started = process.create_time()
    return started - psutil.boot_time() if boot else started
