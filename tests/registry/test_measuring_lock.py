"""One process measures on a runtime at a time, and its death frees the runtime."""

import os
from collections.abc import Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from filelock import FileLock

from lmstrix.errors import BusyError, RegistryError
from lmstrix.registry import SQLiteRegistry
from registry.registry_children import measure, probe_at, start


@pytest.fixture
def other(own_home: Path) -> Iterator[Popen[str]]:
    """Return a process that holds the right to measure on `fake`, and has a probe of `m` open."""
    with start(measure, own_home) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child
        child.kill()


def test_second_process_is_told_who_measures_what(
    registry: SQLiteRegistry, other: Popen[str]
) -> None:
    """It says whom to wait for, and how to end it."""
    with pytest.raises(BusyError) as caught, registry.measuring("fake"):
        pass

    assert f"process {other.pid} is already measuring `m` on `fake`" in str(caught.value)
    assert caught.value.hint is not None
    assert f"`kill {other.pid}`" in caught.value.hint


def test_other_runtime_is_free(registry: SQLiteRegistry, other: Popen[str]) -> None:
    """LM Studio and llama.cpp are locked apart."""
    with registry.measuring("llamacpp"):
        assert other.poll() is None


def test_death_of_the_holder_frees_the_runtime(registry: SQLiteRegistry, other: Popen[str]) -> None:
    """No lock file has ever to be deleted by hand."""
    other.kill()
    other.wait()

    with registry.measuring("fake"):
        [swept] = registry.sweep()

    assert swept.detail is not None
    assert f"process {other.pid}" in swept.detail


def test_thread_of_the_same_process_is_told_so(registry: SQLiteRegistry) -> None:
    """Advice to kill oneself would be bad advice."""
    registry.open_probe("fake", probe_at(4_096))

    with (
        registry.measuring("fake"),
        pytest.raises(BusyError) as caught,
        registry.measuring("fake"),
    ):
        pass

    assert str(caught.value).startswith("this process")
    assert caught.value.hint is not None
    assert str(os.getpid()) not in caught.value.hint


@pytest.mark.parametrize("holder", [None, "not a number", "99999999"])
def test_holder_that_left_no_name_is_still_a_holder(
    registry: SQLiteRegistry, own_home: Path, holder: str | None
) -> None:
    """The name beside the lock only serves the message."""
    locks = own_home / "locks"
    locks.mkdir()
    if holder is not None:
        (locks / "fake.pid").write_text(holder, encoding="ascii")

    with (
        FileLock(locks / "fake.lock"),
        pytest.raises(BusyError, match="process"),
        registry.measuring("fake"),
    ):
        pass


def test_name_of_a_runtime_stays_within_the_folder(
    registry: SQLiteRegistry, own_home: Path
) -> None:
    """A name is text, not a path."""
    with registry.measuring("../x"):
        assert not (own_home / "x.lock").exists()
        assert (own_home / "locks" / "..%2Fx.lock").exists()


def test_lock_that_cannot_be_written_is_an_error_with_a_remedy(
    registry: SQLiteRegistry, own_home: Path
) -> None:
    """A folder that is not ours to write is the user's to mend."""
    (own_home / "locks").write_text("not a folder", encoding="utf-8")

    with pytest.raises(RegistryError, match="cannot be locked") as caught:
        registry.measuring("fake").__enter__()

    assert caught.value.hint is not None
    assert "LMSTRIX_HOME" in caught.value.hint
