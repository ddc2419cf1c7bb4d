"""Which context to probe next. Pure: a strategy knows outcomes, and nothing of runtimes or time.

The caller asks for the next context, probes it, and tells what came of it, until the answer is
None. A strategy depends on nothing but what it was told: told the same history again, in the same
order, it asks for the same next context. So a search is resumed by replaying its recorded probes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from lmstrix.errors import RequestError
from lmstrix.values import Outcome, Probe


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Where to search. All in tokens.

    Attributes:
        ceiling: The largest context there is to try; a candidate even off the grid.
        granularity: Candidates are its multiples, and a bracket this narrow is narrow enough.
        threshold: Nothing larger is asked for before a context this large, or larger, has passed.
        floor: Where the search begins. A failure there is of a class, not a limit: it ends it.
        first: Asked for before anything else, in place of the floor.
    """

    ceiling: int
    granularity: int
    threshold: int
    floor: int = 4_096
    first: int | None = None

    def __post_init__(self) -> None:
        numbers = [self.ceiling, self.granularity, self.threshold, self.floor]
        if min(numbers if self.first is None else [*numbers, self.first]) < 1:
            raise RequestError("a search is made in positive numbers of tokens")

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
            self._inconclusive = _inconclusive(probe)

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


class Descend(Bisect):
    """Begin at the ceiling, and go down in steps that double until one passes; then halve the gap.

    For a ceiling that is expected to pass, where a miss is most often a near one and probes are
    dear. The threshold is taken to have passed.
    """

    def _opening(self) -> int | None:
        space, misses = self._space, len(self._failures)
        if misses == 0:
            return space.ceiling
        step = space.granularity << (misses - 1)
        lower = (space.ceiling - step) // space.granularity * space.granularity
        return lower if lower > space.start else super()._opening()


def open_strategy(name: str, space: SearchSpace) -> Strategy:
    """Return the strategy called `name`, ready to search `space`.

    Raises:
        RequestError: There is no such strategy.
    """
    if name not in STRATEGIES:
        listed = ", ".join(f"`{known}`" for known in sorted(STRATEGIES))
        raise RequestError(f"unknown strategy: `{name}`", hint=f"there is {listed}")
    return STRATEGIES[name](space)


def most_probes(space: SearchSpace) -> int:
    """Return how many probes halving `space` takes at most."""
    start = min(space.start, space.first or space.start)
    threshold = space.clamp(space.ceiling)
    below = len(space.grid(start, threshold)) + (threshold > start)
    above = len(space.grid(threshold, space.ceiling)) + (space.ceiling > threshold)
    openings = 1 if space.first is None else 2
    return openings + below.bit_length() + above.bit_length()


def most_to_descend(space: SearchSpace) -> int:
    """Return how many probes `Descend` takes at most."""
    steps = len(space.grid(space.start, space.ceiling)).bit_length()
    return 2 + 2 * steps


def _inconclusive(probe: Probe) -> str:
    if probe.outcome is Outcome.RESIZED:
        return f"the runtime loaded {probe.effective:,} tokens instead of {probe.requested:,}"
    reason = f": {probe.detail}" if probe.detail else ""
    return f"the probe at {probe.requested:,} tokens decided nothing ({probe.outcome}{reason})"


STRATEGIES: Final[Mapping[str, Callable[[SearchSpace], Strategy]]] = {"bisect": Bisect}
"""The strategies there are, by name."""
