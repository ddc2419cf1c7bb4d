"""From the top down, where the top is expected to pass and each probe reads a whole window."""

from typing import Final

from lmstrix.engine.strategies.bracket import Bracket
from lmstrix.engine.strategies.space import SearchSpace
from lmstrix.values import Probe

_NEAR: Final = 8


class Descend:
    """Begin at the ceiling, and go down in steps that double until one passes.

    A miss is most often a near one, and probes are dear: so the first pass is good enough if it is
    within an eighth of the failure above it; else the gap is halved until it is. The threshold is
    taken to have passed.

    Doubtful failures are confirmed (`bracket.py`), by the smallest size there is: that the server
    still works can be shown without another whole window.

    Args:
        space: Where to search; its floor is the smallest size.
        thorough: Halve the gap down to the granularity.
    """

    def __init__(self, space: SearchSpace, *, thorough: bool = False) -> None:
        self._space = space
        self._thorough = thorough
        self._bracket = Bracket()

    @property
    def stopped_because(self) -> str:
        """See `Strategy.stopped_because`."""
        if self.next_context() is not None:
            return ""
        return "; ".join([self._bracket.inconclusive or self._ending(), *self.notes])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was contradicted, or left in doubt, each in a few words."""
        return self._bracket.notes

    def next_context(self) -> int | None:
        """See `Strategy.next_context`."""
        bracket, space = self._bracket, self._space
        if bracket.inconclusive or bracket.passed >= space.ceiling:
            return None
        again = bracket.recheck(space.start)
        if again is not None and again <= space.ceiling:
            return min(again, space.start) if again == bracket.passed else again
        if bracket.refuted is None or bracket.refuted > space.ceiling:
            return space.ceiling
        lower = self._lower(bracket.refuted)
        return lower if bracket.passed < lower < bracket.refuted else self._middle(bracket.refuted)

    def tell(self, probe: Probe) -> None:
        """See `Strategy.tell`."""
        self._bracket.tell(probe)

    def _lower(self, refuted: int) -> int:
        """Return the next step down; not below the floor."""
        space = self._space
        misses = sum(failed <= space.ceiling for failed in self._bracket.failures)
        step = space.granularity << (misses - 1)
        lower = min(space.ceiling - step, refuted - space.granularity)
        return max(space.start, lower // space.granularity * space.granularity)

    def _middle(self, refuted: int) -> int | None:
        """Return the middle between a pass and the failure above it, if they are far apart."""
        space, passed = self._space, self._bracket.passed
        near = space.granularity if self._thorough else max(space.granularity, refuted // _NEAR)
        grid = space.grid(passed, refuted)
        if not passed or refuted - passed <= near or not grid:
            return None
        return grid[len(grid) // 2]

    def _ending(self) -> str:
        verdict = self._bracket.verdict
        if self._bracket.refuted is not None:
            return verdict
        return f"{verdict}, and there is nothing larger to try"
