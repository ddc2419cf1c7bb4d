"""The default: a context that is sure to work, in as few loads as that takes.

1. A small load shows that the model works at all, and what it takes.
2. The second goes as far as the prior is sure of, `_PRIOR_CAUTION` errors below its prediction; if
   that is the ceiling, the search is over. Bytes per token are now measured.
3. Each further one goes `_CAUTION` errors below what the line then predicts, and measures it more
   closely, until there is no more to gain than the granularity, or 2 % of what has passed.

So it never asks for more than it predicts to fit. A failure means that the prediction was wrong, or
that memory is not what decides: the search steps back a quarter of the bracket, then halves, and
ends where that has come within an eighth of the failure.
"""

from typing import Final

from lmstrix.engine.memory import MemoryLine
from lmstrix.engine.strategies.climb import Climb

_PRIOR_CAUTION: Final = 3.0
"""An estimate leaves out what it does not know: the truth is farther above it than below."""
_CAUTION: Final = 2.2
_NEAR: Final = 8


class Certify(Climb):
    """Probe below the prediction, measure, predict again. Without readings, climb."""

    def _onward(self) -> int | None:
        line = self._guide()
        if line is None:
            return self._step()
        high = self._bracket.refuted
        return self._ahead(line) if high is None else self._back(line, high)

    def _ahead(self, line: MemoryLine) -> int | None:
        """Return a context above what has passed, where nothing has failed."""
        target = self._cautious(line)
        if target == self._space.ceiling:
            return target
        left = self._room(line) - self._bracket.passed
        done = line.measured and left < self._worth(self._space.granularity)
        return None if done else self._paying(target)

    def _back(self, line: MemoryLine, high: int) -> int | None:
        """Return a context below the failure at `high`, with room for error that grows."""
        gap = high - self._bracket.passed
        if gap <= max(self._space.granularity, high // _NEAR):
            return None
        target = self._reach(high - gap // (4 if len(self._bracket.failures) == 1 else 2))
        return self._paying(min(target, self._cautious(line)) if line.measured else target)

    def _cautious(self, line: MemoryLine) -> int:
        z = _CAUTION if line.measured else _PRIOR_CAUTION
        return self._reach(line.limit(self._budget, z).cautious)

    def _paying(self, target: int) -> int | None:
        """Return `target` if it is far enough up."""
        least = self._space.grain
        if self._bracket.sizes_read > 2:  # up to then, a load that gains little measures much
            least = max(least, self._space.granularity * 3 // 4)
        return target if target - self._bracket.passed >= self._worth(least) else None
