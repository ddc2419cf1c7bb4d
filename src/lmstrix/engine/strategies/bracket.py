"""What the probes of a search have shown: a bracket, doubts, and memory readings. Pure.

A failure counts at once if it was out of memory or an interruption, for those are not tried twice,
or if it was confirmed when it is told. Any other first leaves a doubt, for a server that hiccups
fails at every size. A doubt is settled by showing that a size known to be good still works, and
then trying the doubtful one again: a second failure counts, a pass clears it.

Beyond that the latest evidence wins: a pass discards the failures and doubts at its context and
below, a failure the passes at its context and above. What was discarded so is told in `notes`: it
means that the machine changed, or that size is not what decides.
"""

from lmstrix.engine.memory import Reading
from lmstrix.engine.strategies.bisect import inconclusive
from lmstrix.values import Outcome, Probe


class Bracket:
    """The evidence of one search, in the order it was told. Contexts are in tokens.

    Attributes:
        failures: Contexts with a failure that counts and stands, and what it was.
        readings: The memory that passing loads took.
        silent: Whether a load passed and did not tell its memory.
        inconclusive: Why the search cannot go on, after a probe that decided nothing.
    """

    def __init__(self) -> None:
        self.failures: dict[int, Outcome] = {}
        self.readings: list[Reading] = []
        self.silent = False
        self.inconclusive = ""
        self._passes: set[int] = set()
        self._doubts: dict[int, bool] = {}  # by context: whether a good size has worked since
        self._notes: dict[str, None] = {}  # a set that keeps its order

    @property
    def passed(self) -> int:
        """The largest context whose pass stands, or 0."""
        return max(self._passes, default=0)

    @property
    def refuted(self) -> int | None:
        """The smallest context with a failure that counts, or None."""
        return min(self.failures, default=None)

    @property
    def sizes_read(self) -> int:
        """How many different contexts the memory is known of."""
        return len({reading.context for reading in self.readings})

    @property
    def notes(self) -> tuple[str, ...]:
        """What was contradicted, or left in doubt, each in a few words."""
        doubts = (f"{size:,} tokens failed once, and were not tried again" for size in self._doubts)
        return *self._notes, *doubts

    @property
    def verdict(self) -> str:
        """The two ends, for a person; empty while there is none."""
        ends = [f"{self.passed:,} tokens passed"] if self._passes else []
        if self.refuted is not None:
            ends.append(f"{self.refuted:,} tokens failed: {self.failures[self.refuted]}")
        return ", ".join(ends)

    def has_passed(self, context: int) -> bool:
        """Whether a pass at exactly that context stands."""
        return context in self._passes

    def tell(self, probe: Probe) -> None:
        """Learn from an ended probe."""
        if probe.outcome is None:
            return
        if probe.outcome is Outcome.PASSED:
            self._pass(probe)
        elif probe.outcome.refutes:
            at_once = probe.is_certain
            self._fail(probe.requested, probe.outcome, at_once=at_once)
        else:
            self.inconclusive = inconclusive(probe)

    def recheck(self, start: int) -> int | None:
        """Return the context to probe so that a doubt is settled, or None if there is none.

        Args:
            start: Taken to be good as long as nothing has passed.
        """
        doubt = min(self._doubts, default=None)
        if doubt is None or self._doubts[doubt]:
            return doubt
        return self.passed or min(start, doubt)

    def _pass(self, probe: Probe) -> None:
        context = probe.requested
        for failed in sorted({*self.failures, *self._doubts}):
            if failed <= context:
                self._note(f"{failed:,} tokens failed before {context:,} passed")
        self.failures = {size: why for size, why in self.failures.items() if size > context}
        self._doubts = {size: True for size in self._doubts if size > context}
        self._passes.add(context)
        if probe.memory_bytes is None:
            self.silent = True
        else:
            self.readings.append(Reading(probe.effective or context, probe.memory_bytes))

    def _fail(self, context: int, outcome: Outcome, *, at_once: bool) -> None:
        if self.passed >= context:
            self._note(f"{self.passed:,} tokens passed before {context:,} failed")
        self._passes = {passed for passed in self._passes if passed < context}
        if at_once or context in self._doubts:
            self.failures[context] = outcome
            self._doubts = {size: shown for size, shown in self._doubts.items() if size < context}
        elif self.refuted is None or context < self.refuted:
            self._doubts[context] = False

    def _note(self, text: str) -> None:
        self._notes[text] = None
