"""Whether a process still runs decides whether its probe froze the machine."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from lmstrix.registry import owners
from lmstrix.registry.owners import Owner


def test_this_process_is_alive() -> None:
    """Its own probes are never swept from under it."""
    assert Owner.current().is_alive()


def test_running_child_is_alive_until_it_is_gone() -> None:
    """An owner is judged from another process than itself."""
    code = "from lmstrix.registry.owners import Owner; o = Owner.current(); print(o.start, o.boot)"
    command = [sys.executable, "-c", f"{code}; import sys; sys.stdout.flush(); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        start, _, boot = child.stdout.readline().rstrip("\n").partition(" ")
        owner = Owner(pid=child.pid, start=float(start), boot=boot)
        assert owner.is_alive()
        child.communicate("\n")

    assert not owner.is_alive()


@pytest.mark.parametrize("shift", [-60.0, 60.0])
def test_process_that_was_given_the_same_id_is_another(shift: float) -> None:
    """Systems use process ids again."""
    current = Owner.current()

    assert not replace(current, start=current.start + shift).is_alive()


def test_no_process_survives_a_reboot() -> None:
    """Same id and same second after boot, on another boot: a service started by the system."""
    assert not replace(Owner.current(), boot="another boot").is_alive()


def test_setting_the_clock_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux reckons a process's start from the time of boot, which moves with the clock."""
    owner = Owner.current()
    if not owner.boot:
        pytest.skip("only where the system names its boots")
    shifted = psutil.boot_time() + 3_600
    monkeypatch.setattr(psutil, "boot_time", lambda: shifted)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: shifted)

    assert owner.is_alive()


def test_start_is_compared_by_the_time_of_day_where_boots_have_no_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Off Linux the start is a date, and a reboot makes it another one."""
    monkeypatch.setattr(owners, "_boot", lambda: "")
    owner = Owner.current()

    assert owner.start == pytest.approx(psutil.Process().create_time(), abs=2)
    assert owner.is_alive()
    assert not replace(owner, start=owner.start - 60).is_alive()


@pytest.mark.skipif(sys.platform == "win32", reason="needs zombies")
def test_killed_process_that_its_parent_has_not_noticed_is_dead() -> None:
    """A zombie still has its id, but closes no probe."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        current = Owner.current()
        started = psutil.Process(child.pid).create_time()
        start = started - psutil.boot_time() if current.boot else started

        assert not Owner(pid=child.pid, start=start, boot=current.boot).is_alive()
    finally:
        child.communicate()
    assert child.returncode == -signal.SIGKILL


def test_process_that_may_not_be_asked_about_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Taking a running probe for a crash would record what never happened."""

    class Forbidden:
        def __init__(self, pid: int) -> None:
            raise psutil.AccessDenied(pid)

    owner = Owner.current()
    monkeypatch.setattr(psutil, "Process", Forbidden)

    assert owner.is_alive()
