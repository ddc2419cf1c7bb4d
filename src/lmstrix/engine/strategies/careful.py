"""What the careful strategies share: how they begin, what they may ask for, how they end.

They differ in one thing, `_onward`: where to go from what has passed. All of them confirm doubtful
failures (`bracket.py`), and none asks for more than ceiling, threshold and budget leave it.

**Threshold.** It caps every probe until two loads of different sizes have measured a memory line:
from then on the budget caps. Where memory cannot be read, or no budget is known, a pass at the
threshold itself lifts it.

**Budget.** No probe is predicted to take more than it, by the best line there is: the measured one,
or before that the prior's. A strategy that has to see a failure may override `_room`.
"""

from abc import ABC, abstractmethod
from math import inf
from typing import Final

from lmstrix.engine.memory import MemoryLine, reading_noise
from lmstrix.engine.strategies.bracket import Bracket
from lmstrix.engine.strategies.space import SearchSpace
from lmstrix.values import Probe

_WORTH: Final = 50
"""Nobody misses the fiftieth part of a context, and finding it costs a load like any other."""


class Careful(ABC):
    """A strategy that keeps to the threshold and the budget, and confirms what it doubts."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._bracket = Bracket()

    @property
    def stopped_because(self) -> str:
        """See `Strategy.stopped_because`."""
        if self.next_context() is not None:
            return ""
        return "; ".join([self._bracket.inconclusive or self._ending(), *self._bracket.notes])

    def next_context(self) -> int | None:
        """See `Strategy.next_context`."""
        bracket = self._bracket
        if bracket.inconclusive or bracket.passed >= self._space.ceiling:
            return None
        start = self._start()
        if not (bracket.passed or start):
            return None
        again = bracket.recheck(start)
        if again is not None and again <= max(bracket.passed, self._reach(inf)):
            return again
        if not bracket.passed:
            return self._opening(start)
        return self._gauge() or self._onward()

    def tell(self, probe: Probe) -> None:
        """See `Strategy.tell`."""
        self._bracket.tell(probe)

    @abstractmethod
    def _onward(self) -> int | None:
        """Return where to go from what has passed, below the ceiling; None ends the search."""

    def _opening(self, start: int) -> int | None:
        refuted, first = self._bracket.refuted, self._space.first
        if refuted is None:
            return start if first is None else self._within_room(self._space.clamp(first))
        return start if start < refuted else None

    def _start(self) -> int:
        """Return the floor, where ceiling, threshold and budget leave it; 0 if they do not."""
        return self._within_room(self._space.start)

    def _within_room(self, context: int) -> int:
        """Return `context`, off the grid or not, or what there is room for if that is less."""
        line = self._line()
        room = inf if line is None else self._room(line)
        return context if room >= context else self._space.align(int(max(room, 0)))

    def _gauge(self) -> int | None:
        """Return a smaller context to measure the line with, where the threshold bars larger ones.

        That takes a second load, and a threshold which has passed already leaves it no other place.
        """
        passed, line = self._bracket.passed, self._line()
        if passed < self._space.threshold or self._is_cleared(line):
            return None
        smaller = self._space.align(passed // 2) or passed // 2
        return None if self._bracket.has_passed(smaller) else smaller or None

    def _reach(self, wanted: float) -> int:
        """Return the largest candidate, up to `wanted`, that may be asked for now; 0 if none."""
        space, line = self._space, self._line()
        top = space.ceiling if self._is_cleared(line) else space.clamp(space.ceiling)
        if line is not None:
            wanted = min(wanted, self._room(line))
        return top if wanted >= top else space.align(int(max(wanted, 0)))

    def _room(self, line: MemoryLine) -> float:
        """Return the largest context that the budget leaves room for, by `line`."""
        return line.limit(self._budget, 0).expected

    def _worth(self, least: int) -> int:
        """Return what a probe has to gain, in tokens: `least`, or a fiftieth of what has passed."""
        return max(least, self._bracket.passed // _WORTH)

    def _is_edge(self, context: int) -> bool:
        """Whether ceiling or threshold end the search there: worth a probe, however near."""
        return context in {self._space.ceiling, self._space.threshold}

    @property
    def _budget(self) -> int:
        """The budget in bytes; only where there is a line, and so a budget."""
        return self._space.budget_bytes or 0

    def _line(self) -> MemoryLine | None:
        """Return the line that memory is predicted by, or None if there is no budget or line."""
        space = self._space
        if space.budget_bytes is None:
            return None
        noise = reading_noise(space.budget_bytes)
        return MemoryLine.fit(self._bracket.readings, noise_bytes=noise, prior=space.prior)

    def _guide(self) -> MemoryLine | None:
        """Return the line if it may choose where to go: every load that passed is on it."""
        known = self._bracket.readings and not self._bracket.silent
        return self._line() if known else None

    def _is_cleared(self, line: MemoryLine | None) -> bool:
        if self._space.budget_bytes is not None and self._bracket.readings:
            return line is not None and line.measured
        return self._bracket.passed >= self._space.threshold

    def _ending(self) -> str:
        passed, refuted = self._bracket.passed, self._bracket.refuted
        if not (passed or refuted):
            return "the model alone is predicted to take more than the memory budget"
        if refuted is not None:
            return self._bracket.verdict
        if passed >= self._space.ceiling:
            return f"{passed:,} tokens passed, and there is nothing larger to try"
        cap = "memory budget" if self._is_cleared(self._line()) else "threshold"
        return f"{passed:,} tokens passed, and the {cap} leaves no room worth a probe"
