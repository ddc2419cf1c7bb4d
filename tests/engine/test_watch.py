"""The watch speaks before the machine suffers, and not while it is well."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from lmstrix.engine.memory import GIB, reserve_bytes
from lmstrix.engine.watch import PERIOD_S, SWAP_BYTES, Watch, shortage
from lmstrix.ports import Accelerator, MachineMemory

MIB = 1 << 20
TOTALS = st.integers(1, 1 << 42)
SWAPS = st.integers(0, 1 << 40)
WELL = MachineMemory(total=24 * GIB, available=12 * GIB, swap_total=8 * GIB, swap_used=GIB)


def machine(available: int, swap_used: int = GIB, total: int = 24 * GIB) -> MachineMemory:
    """Return the memory of a machine with so much left."""
    return MachineMemory(total=total, available=available, swap_used=swap_used)


@dataclass
class Machine:
    """A machine that can be changed, and how often it was read; with a clock."""

    memory: MachineMemory | None = WELL
    now: float = 0.0
    readings: list[float] = field(default_factory=list)

    def read(self) -> MachineMemory | None:
        """Return its memory."""
        self.readings.append(self.now)
        return self.memory

    def seconds(self) -> float:
        """Return the time."""
        return self.now

    def watch(self, start: MachineMemory | None = WELL) -> Watch:
        """Return a watch over it."""
        return Watch(self.read, start, seconds=self.seconds)


@given(total=TOTALS, above=st.integers(0, 1 << 42), before=SWAPS, grown=st.integers(-1 << 40, 0))
def test_machine_within_its_bounds_is_left_alone(
    total: int, above: int, before: int, grown: int
) -> None:
    """Every probe that is stopped for nothing is a load wasted, and a limit lost."""
    start = machine(1 << 42, before, total)
    now = machine(reserve_bytes(total) // 2 + above, max(0, before + grown + SWAP_BYTES), total)

    assert shortage(now, start) is None


@given(total=TOTALS, part=st.floats(0, 1, exclude_max=True), swap=SWAPS)
def test_less_than_half_the_reserve_is_always_a_shortage(
    total: int, part: float, swap: int
) -> None:
    """Whatever swap does: a machine without swap has none to tell by."""
    least = reserve_bytes(total) // 2

    assert shortage(machine(min(int(part * least), least - 1), swap, total), WELL)


@given(before=SWAPS, grown=st.integers(SWAP_BYTES + 1, 1 << 42), available=st.integers(0, 1 << 42))
def test_growth_of_swap_is_always_a_shortage(before: int, grown: int, available: int) -> None:
    """Memory looks free on a machine that has just swapped everything out."""
    start = machine(1 << 42, before)

    assert shortage(machine(available, before + grown), start)


def test_reason_names_what_is_short_in_figures() -> None:
    """It becomes the detail of the probe that was stopped."""
    low = machine(700 * MIB)
    swapping = machine(4 * GIB, GIB + 412 * MIB)

    assert shortage(low, WELL) == "700.0 MiB of memory left, 1.0 GiB is the least"
    assert shortage(swapping, WELL) == "swap grew by 412.0 MiB"


def test_full_graphics_card_is_no_shortage() -> None:
    """It is what a card is for, and one that is too full fails by itself."""
    full = Accelerator(name="card", total=8 * GIB, free=0)
    memory = MachineMemory(total=24 * GIB, available=12 * GIB, accelerators=(full,))

    assert shortage(memory, memory) is None


def test_memory_is_read_at_most_once_in_a_period() -> None:
    """Signs of life come with every token; readings must not slow the tokens down."""
    here = Machine()
    watch = here.watch()

    for step in range(9):
        here.now = step * PERIOD_S / 4
        watch()

    assert here.readings == [0, PERIOD_S, 2 * PERIOD_S]


def test_shortage_is_told_at_the_next_reading() -> None:
    """And all is well again once it is over."""
    here = Machine()
    watch = here.watch()
    told = []

    for memory in (WELL, machine(0), WELL):
        here.memory = memory
        told.append(watch() is not None)
        here.now += PERIOD_S

    assert told == [False, True, False]


def test_memory_that_cannot_be_read_stops_nothing() -> None:
    """A runtime on another machine keeps its memory to itself."""
    assert Machine(memory=None).watch(None)() is None


def test_without_a_start_swap_is_compared_to_the_first_reading() -> None:
    """What was swapped out before is no fault of the probe."""
    here = Machine(memory=machine(12 * GIB, 3 * GIB))
    watch = here.watch(None)
    assert watch() is None

    here.now, here.memory = PERIOD_S, machine(12 * GIB, 3 * GIB + 2 * SWAP_BYTES)
    assert watch() == "swap grew by 512.0 MiB"
