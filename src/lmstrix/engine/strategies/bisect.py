"""Halving, the baseline: it knows nothing of memory, and cannot be misled by it."""

from lmstrix.engine.strategies.space import SearchSpace
from lmstrix.values import Outcome, Probe


class Bisect:
    """Halve the gap between the largest pass and the smallest failure.

    The latest evidence wins: a pass discards the failures at its context and below, a failure the
    passes at its context and above. `resized` says nothing of the context that was asked for, and
    `refused`, `unavailable` and `unknown` say nothing at all: each ends the search where it stands.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._passes: set[int] = set()
        self._failures: dict[int, Outcome] = {}
        self._inconclusive = ""

    @property
    def stopped_because(self) -> str:
        """See `Strategy.stopped_because`."""
        if self._inconclusive or self.next_context() is not None:
            return self._inconclusive
        if self._refuted is None:
            return f"{self._passed:,} tokens passed, and there is nothing larger to try"
        failure = f"{self._refuted:,} tokens failed: {self._failures[self._refuted]}"
        return f"{self._passed:,} tokens passed, {failure}" if self._passes else failure

    def next_context(self) -> int | None:
        """See `Strategy.next_context`."""
        if self._inconclusive:
            return None
        return self._middle() if self._passes else self._opening()

    def tell(self, probe: Probe) -> None:
        """See `Strategy.tell`."""
        if probe.outcome is Outcome.PASSED:
            self._passes.add(probe.requested)
            self._failures = {
                failed: outcome
                for failed, outcome in self._failures.items()
                if failed > probe.requested
            }
        elif probe.outcome is not None and probe.outcome.refutes:
            self._passes = {passed for passed in self._passes if passed < probe.requested}
            self._failures[probe.requested] = probe.outcome
        elif probe.outcome is not None:
            self._inconclusive = inconclusive(probe)

    @property
    def _passed(self) -> int:
        return max(self._passes, default=0)

    @property
    def _refuted(self) -> int | None:
        return min(self._failures, default=None)

    def _opening(self) -> int | None:
        space = self._space
        if self._refuted is None:
            return space.start if space.first is None else space.clamp(space.first)
        return space.start if self._refuted > space.start else None

    def _middle(self) -> int | None:
        """Return the middle one of the contexts that may still be asked for."""
        space, passed, refuted = self._space, self._passed, self._refuted
        top = space.ceiling if passed >= space.threshold else space.clamp(space.ceiling)
        if refuted is not None and refuted <= top:
            grid = space.grid(passed, refuted)
            narrow = refuted - passed <= space.granularity
            return None if narrow or not grid else grid[len(grid) // 2]
        if passed >= top:
            return None
        grid = space.grid(passed, top)
        middle = (len(grid) + 1) // 2
        return grid[middle] if middle < len(grid) else top


def inconclusive(probe: Probe) -> str:
    """Return why `probe` decided nothing."""
    if probe.outcome is Outcome.RESIZED:
        return f"the runtime loaded {probe.effective:,} tokens instead of {probe.requested:,}"
    reason = f": {probe.detail}" if probe.detail else ""
    return f"the probe at {probe.requested:,} tokens decided nothing ({probe.outcome}{reason})"
