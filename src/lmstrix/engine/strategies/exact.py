"""To the granularity, with failures kept few and small.

Given the line, its error, and what has passed and failed, each context has a chance to fit. The
next probe goes where that chance has fallen through a set part of what it falls between the two
ends: it divides what is not known, as bisection divides what is not tried. The part favours a pass,
which is a reading as well.

**Bounded bytes.** As long as nothing has failed, a step larger than the granularity goes no farther
than where a load surely (`_SURE` errors) takes at most `_OVERREACH` more than the budget. And no
probe has less than `_HOPELESS` as its chance: where the next granule has, there is nothing left to
bracket, and no load has to fail to prove that.

The line may be wrong, and memory need not be what decides. Each probe takes its part of the chance
that is between the ends, and when hardly any is left, the middle is probed; and as long as nothing
has failed, the steps up come to double.
"""

from bisect import bisect_right
from typing import Final

from lmstrix.engine.memory import MemoryLine
from lmstrix.engine.strategies.climb import Climb

_PRIOR_CAUTION: Final = 3.0
_FAVOUR: Final = 0.7
_OVERREACH: Final = 0.05
_SURE: Final = 2.2  # errors
_HOPELESS: Final = 1e-7
_BLIND: Final = 0.05
"""With less of the chance than this between the ends, the line is taken to be wrong."""


class Exact(Climb):
    """Bracket the limit by its chances. Without readings, climb, then halve."""

    def _onward(self) -> int | None:
        line, high = self._guide(), self._bracket.refuted
        if high is not None:
            wanted: float = self._below(line, high)
        elif line is not None:
            wanted = self._above(line)
        else:
            return self._step()
        return None if self._is_near_enough() else self._reach(wanted)

    def _is_near_enough(self) -> bool:
        """Whether the next granule has failed, or is barred."""
        space, low, high = self._space, self._bracket.passed, self._bracket.refuted
        if high is not None and high - low <= space.granularity:
            return True
        step = self._reach(low + space.granularity)
        whole = step >= space.align(low + space.granularity)
        return step <= low or not (whole or self._is_edge(step))

    def _above(self, line: MemoryLine) -> float:
        """Return a context to go up to: nothing has failed yet."""
        low, granule = self._bracket.passed, self._space.granularity
        if not line.measured:
            return max(low + granule, line.limit(self._budget, _PRIOR_CAUTION).cautious)
        least = low + (granule << max(0, self._bracket.sizes_read - 4))
        bold = line.limit((1 + _OVERREACH) * self._budget, _SURE).cautious
        return max(least, min(bold, self._divide(line, low, None) or 0))

    def _below(self, line: MemoryLine | None, high: int) -> int:
        """Return a context between the two ends."""
        low, granule = self._bracket.passed, self._space.granularity
        gap = high - low
        middle = max(low + gap // 2, low + self._space.grain)
        if line is None or gap <= 2 * granule:
            return middle
        likely = self._divide(line, low, high) or middle
        return min(max(likely, low + granule), high - granule)

    def _divide(self, line: MemoryLine, low: int, high: int | None) -> int | None:
        """Return where the limit is above with a chance of `_FAVOUR`, given that it is between.

        None says that the line hardly sees it there. Without a failure, it may be anywhere above.
        """
        upper = line.chance(low, self._budget)
        lower = 0.0 if high is None else line.chance(high, self._budget)
        if upper - lower < _BLIND:
            return None
        return self._last(line, low, high, lower + _FAVOUR * (upper - lower))

    def _room(self, line: MemoryLine) -> float:
        if not self._bracket.passed:
            return super()._room(line)
        return self._last(line, self._bracket.passed, None, _HOPELESS)

    def _last(self, line: MemoryLine, low: int, high: int | None, chance: float) -> int:
        """Return the last context between the ends with that chance to fit; `low` if none has."""
        contexts = range(low, (high or self._space.ceiling) + 1)
        place = bisect_right(contexts, -chance, key=lambda size: -line.chance(size, self._budget))
        return contexts[max(0, place - 1)]
