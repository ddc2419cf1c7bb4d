"""What memory this machine has left, main memory and graphics cards alike.

Cards are asked through NVIDIA's management library, which the extra `nvidia` installs. Where the
package, a driver or a card is missing, or the driver fails, there are no cards: what cannot be read
cannot be counted on.
"""

import logging
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import psutil

from lmstrix.ports import Accelerator, MachineMemory

log = logging.getLogger(__name__)


def read_memory(*, cards: bool = True) -> MachineMemory:
    """Return the memory of this machine as it is now.

    Args:
        cards: Whether to ask for graphics cards too. Without a driver that takes a tenth of a
            millisecond; starting one may take many.
    """
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return MachineMemory(
        total=memory.total,
        available=memory.available,
        swap_total=swap.total,
        swap_used=swap.used,
        accelerators=tuple(_read_cards()) if cards else (),
    )


def _read_cards() -> Sequence[Accelerator]:
    try:
        import pynvml  # noqa: PLC0415 - an extra, and of no use without a card
    except ImportError:
        return ()
    try:
        return _ask(pynvml)
    except pynvml.NVMLError as error:
        log.debug("graphics cards cannot be read: %s", error)
        return ()


def _ask(nvml: ModuleType) -> Sequence[Accelerator]:
    nvml.nvmlInit()
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(n) for n in range(nvml.nvmlDeviceGetCount())]
        return [_card(nvml, handle) for handle in handles]
    finally:
        nvml.nvmlShutdown()


def _card(nvml: ModuleType, handle: Any) -> Accelerator:
    name, memory = nvml.nvmlDeviceGetName(handle), nvml.nvmlDeviceGetMemoryInfo(handle)
    return Accelerator(
        name=name.decode() if isinstance(name, bytes) else name,
        total=int(memory.total),
        free=int(memory.free),
    )
