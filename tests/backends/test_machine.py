"""Memory is told as it is; a graphics card counts only if it can be read and used."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.backends.machine import read_memory
from lmstrix.ports import Accelerator
from lmstrix.values import LoadConfig, Model

GIB = 1 << 30
CARDS = (
    Accelerator(name="Card A", total=24 * GIB, free=20 * GIB),
    Accelerator(name="Card B", total=8 * GIB, free=8 * GIB),
)


class FakeNvml(ModuleType):
    """NVIDIA's library, with these cards, failing at the call of that name."""

    class NVMLError(Exception):
        """The base of all its errors."""

    def __init__(self, cards: Sequence[Accelerator] = CARDS, failing: str = "") -> None:
        super().__init__("pynvml")
        self.cards, self.failing = cards, failing
        self.users = 0
        self.names_are_bytes = False

    def _call(self, name: str) -> None:
        if name == self.failing:
            raise self.NVMLError(name)

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's name
        """Start the library."""
        self._call("nvmlInit")
        self.users += 1

    def nvmlShutdown(self) -> None:  # noqa: N802 - NVIDIA's name
        """End it."""
        self.users -= 1
        self._call("nvmlShutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - NVIDIA's name
        """Return how many cards there are."""
        self._call("nvmlDeviceGetCount")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Accelerator:  # noqa: N802 - NVIDIA's name
        """Return a card."""
        self._call("nvmlDeviceGetHandleByIndex")
        return self.cards[index]

    def nvmlDeviceGetName(self, card: Accelerator) -> str | bytes:  # noqa: N802 - NVIDIA's name
        """Return its name; older versions of the library told it in bytes."""
        self._call("nvmlDeviceGetName")
        return card.name.encode() if self.names_are_bytes else card.name

    def nvmlDeviceGetMemoryInfo(self, card: Accelerator) -> SimpleNamespace:  # noqa: N802 - NVIDIA's name
        """Return its memory."""
        self._call("nvmlDeviceGetMemoryInfo")
        return SimpleNamespace(total=card.total, free=card.free)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    """A driver with two cards."""
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    return fake


def told_of(backend: LlamaCppBackend, models: dict[str, Model]) -> str:
    """Return the machine in a fingerprint."""
    return backend.fingerprint(models["tiny"], LoadConfig()).machine


def test_main_memory_and_swap_are_the_machines_own() -> None:
    """The size does not change; what is free lies within it."""
    memory = read_memory()

    assert memory.total == psutil.virtual_memory().total
    assert 0 < memory.available <= memory.total
    assert memory.swap_total == psutil.swap_memory().total
    assert 0 <= memory.swap_used <= memory.swap_total


def test_real_library_without_a_driver_tells_of_no_cards() -> None:
    """Most machines are like that, and no error may come of it."""
    pynvml = import_module("pynvml")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert read_memory().accelerators == ()
    else:
        cards = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
        assert len(read_memory().accelerators) == cards


def test_without_the_package_there_are_no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert read_memory().accelerators == ()


@pytest.mark.parametrize("as_bytes", [False, True])
def test_every_card_is_told_with_its_memory(nvml: FakeNvml, as_bytes: bool) -> None:  # noqa: FBT001 - a parameter
    """And the library is let go of."""
    nvml.names_are_bytes = as_bytes

    assert read_memory().accelerators == CARDS
    assert nvml.users == 0


def test_cards_that_are_not_wanted_are_not_asked(nvml: FakeNvml) -> None:
    """Starting the driver takes long, compared to the rest."""
    nvml.failing = "nvmlInit"
    assert read_memory(cards=False).accelerators == ()

    nvml.failing = ""
    assert read_memory(cards=False).accelerators == ()


@pytest.mark.parametrize(
    "failing",
    [
        "nvmlInit",
        "nvmlDeviceGetCount",
        "nvmlDeviceGetHandleByIndex",
        "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo",
        "nvmlShutdown",
    ],
)
def test_driver_that_fails_is_no_error_and_is_let_go_of(nvml: FakeNvml, failing: str) -> None:
    """A card that fell off the bus must not keep a model from main memory."""
    nvml.failing = failing

    memory = read_memory()

    assert memory.accelerators == ()
    assert memory.available > 0
    assert nvml.users == 0


def test_cards_that_the_engine_cannot_use_do_not_count(
    nvml: FakeNvml, backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """The engine of this machine was built for the processor: 24 GiB elsewhere are no help."""
    assert read_memory().accelerators
    assert backend.memory().accelerators == ()
    assert "Card" not in told_of(backend, models)


def test_engine_built_for_cards_is_told_of_them_and_they_name_the_machine(
    nvml: FakeNvml,
    backend: LlamaCppBackend,
    models: dict[str, Model],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A limit measured with another card is another limit."""
    plain = told_of(backend, models)
    engine = ModuleType("xllamacpp")
    engine.get_system_info = lambda: "CUDA : ARCHS = 890 | CPU : SSE3 = 1 | "  # type: ignore[attr-defined] # a fake
    monkeypatch.setitem(sys.modules, "xllamacpp", engine)
    cuda = LlamaCppBackend([], HeaderCache(tmp_path / "other.json"))

    assert cuda.memory().accelerators == CARDS
    assert told_of(cuda, models) == f"{plain}, Card A 24.0 GiB, Card B 8.0 GiB"
