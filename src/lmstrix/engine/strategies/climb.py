"""Bounded growth, for runtimes whose memory cannot be read."""

from typing import Final

from lmstrix.engine.strategies.careful import Careful

GROWTH: Final = 1.5


class Climb(Careful):
    """Ask for half as much again, until that fails.

    The overshoot of the one failure is bounded by the growth, and so is what is given away: a third
    at most. Where a failure is known beforehand, the climb ends below it.
    """

    def _onward(self) -> int | None:
        return self._step()

    def _step(self) -> int | None:
        """Return the next step up, or None if there is no room for one."""
        space, passed, refuted = self._space, self._bracket.passed, self._bracket.refuted
        wanted = max(space.align(int(GROWTH * passed)), passed + space.grain)
        target = self._reach(wanted)
        if refuted is not None and target >= refuted:
            return None
        whole = target >= space.align(wanted) or self._is_edge(target)
        least = 1 if whole else self._worth(space.granularity)
        return target if target - passed >= least else None
