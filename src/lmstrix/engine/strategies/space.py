"""Where a search may go, and what a strategy is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from lmstrix.errors import RequestError
from lmstrix.ports import Prior
from lmstrix.values import Probe

GRAIN: Final = 256
"""llama.cpp rounds a context up to a multiple of this: nothing finer can be told apart."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Where to search. Contexts are in tokens, the budget is in bytes.

    Attributes:
        ceiling: The largest context there is to try; a candidate even off the grid.
        granularity: How precise the answer is to be. A bracket this narrow is narrow enough.
        threshold: Nothing larger is asked for before a context this large, or larger, has passed;
            or, by strategies that read memory, before two loads have shown that it fits.
        floor: Where the search begins. A failure there is of a class, not a limit: it ends it.
        first: Asked for before anything else, in place of the floor.
        budget_bytes: Most memory that a load may take. None: unknown, and then memory is no guide.
        prior: What is thought of the model's memory before a load was measured, if anything is.
    """

    ceiling: int
    granularity: int
    threshold: int
    floor: int = 4_096
    first: int | None = None
    budget_bytes: int | None = None
    prior: Prior | None = None

    def __post_init__(self) -> None:
        numbers = [self.ceiling, self.granularity, self.threshold, self.floor]
        if min(numbers if self.first is None else [*numbers, self.first]) < 1:
            raise RequestError("a search is made in positive numbers of tokens")
        if self.budget_bytes is not None and self.budget_bytes < 1:
            raise RequestError("a memory budget is a positive number of bytes")

    @property
    def start(self) -> int:
        """The floor, where ceiling and threshold leave it."""
        return self.clamp(self.floor)

    def clamp(self, context: int) -> int:
        """Return `context`, or the ceiling or the threshold if one of them is smaller."""
        return min(context, self.ceiling, self.threshold)

    def grid(self, above: int, below: int) -> range:
        """Return the multiples of the granularity strictly between two contexts."""
        step = self.granularity
        return range((above // step + 1) * step, below, step)

    @property
    def grain(self) -> int:
        """What strategies that do not keep to the granularity round their candidates to."""
        return min(GRAIN, self.granularity)

    def align(self, context: int) -> int:
        """Return the largest multiple of the grain up to `context`."""
        return context // self.grain * self.grain


class Strategy(Protocol):
    """A rule that chooses the next context to probe."""

    @property
    def stopped_because(self) -> str:
        """Why there is no next context, in one line; empty while there is one."""
        ...

    def next_context(self) -> int | None:
        """Return the next context to probe, in tokens, or None when the search is over."""
        ...

    def tell(self, probe: Probe) -> None:
        """Learn from an ended probe."""
        ...


OpenStrategy = Callable[[SearchSpace], Strategy]
"""Begins a search. A class that takes a space alone is one."""
