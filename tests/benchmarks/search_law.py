"""Machines to search, all by one memory law with one thing that may be wrong.

`used(c) = fixed + per_token * c` works as long as it is within the budget and `c` within what the
model declares. The true limit is drawn log-uniformly from 4 200 tokens to 1.4 times the declared
limit, and is the declared one where it comes out larger; then there is room to spare, up to 60 % in
tokens. The fixed part is 30 to 85 % of the budget. A strategy is told the budget, a prior for the
bytes per token that is off by 25 % (one standard deviation), and of each load that passed, the
memory it took, off by half a per cent of the budget. It is not told the fixed part.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import exp, log
from typing import Final, Literal

from lmstrix.engine.strategy import SearchSpace
from lmstrix.ports import Prior
from lmstrix.values import Outcome, Probe, Proof

BUDGET: Final = 16 << 30
_FLOOR: Final = 4_200
_NOON: Final = datetime(2030, 1, 1, 12, tzinfo=UTC)

Wrong = Literal[
    "nothing",
    "budget low",
    "budget high",
    "sliding window",
    "slope grows",
    "flaky",
    "no prior",
    "no readings",
]
"""What the strategy is not told: `nothing`, that its budget is 5 % off, that memory bends, or that
one load in fifty crashes for no reason; or what it has to do without."""


@dataclass(kw_only=True)
class Machine:
    """A hidden limit, and what was probed so far. Contexts in tokens, memory in bytes.

    Attributes:
        limit: The true one.
        space: What a strategy is told.
        overshoot: Bytes that failed loads asked for beyond the budget.
    """

    limit: int
    space: SearchSpace
    memory: Callable[[int], float]
    chance: random.Random
    flaky: bool = False
    readable: bool = True
    probes: list[Probe] = field(default_factory=list)
    overshoot: list[float] = field(default_factory=list)

    def probe(self, context: int) -> Probe:
        """Load at `context`."""
        outcome, taken = Outcome.PASSED, None
        if context > self.limit:
            outcome = Outcome.OUT_OF_MEMORY
            self.overshoot.append(max(0.0, self.memory(context) - BUDGET))
        elif self.flaky and self.chance.random() < 1 / 50:
            outcome = Outcome.CRASHED
        elif self.readable:
            taken = round(self.memory(context) + self.chance.gauss(0, 0.005) * BUDGET)
        probe = Probe(
            model="m",
            requested=context,
            effective=context,
            proof=Proof.LOAD,
            outcome=outcome,
            memory_bytes=taken,
            started_at=_NOON,
            ended_at=_NOON,
        )
        self.probes.append(probe)
        return probe

    @property
    def failed(self) -> int:
        """How many loads failed."""
        return sum(not probe.passed for probe in self.probes)

    @property
    def found(self) -> int:
        """The largest pass that no later failure at its context or below has discarded."""
        passes: set[int] = set()
        for probe in self.probes:
            if probe.passed:
                passes.add(probe.requested)
            else:
                passes = {passed for passed in passes if passed < probe.requested}
        return max(passes, default=0)


def draw(declared: int, wrong: Wrong, chance: random.Random) -> Machine:
    """Return a machine by the law, drawn by `chance`, about which `wrong` is not told."""
    drawn = int(exp(chance.uniform(log(_FLOOR), log(1.4 * declared))))
    limit, fixed = min(declared, drawn), chance.uniform(0.30, 0.85) * BUDGET
    room = chance.uniform(1.0, 1.6)
    full = limit * room if limit == declared else limit
    weighted = _weights(wrong, full, chance)
    per_token = (BUDGET - fixed) / weighted(full)
    estimate = per_token * max(0.3, 1 + chance.gauss(0, 0.25))
    told = {"budget low": 0.95, "budget high": 1.05}.get(wrong, 1.0)
    return Machine(
        limit=limit,
        space=SearchSpace(
            ceiling=declared,
            granularity=1_024,
            threshold=declared,
            budget_bytes=round(told * BUDGET),
            prior=None if wrong == "no prior" else Prior(bytes_per_token=estimate),
        ),
        memory=lambda context: fixed + per_token * weighted(context),
        chance=chance,
        flaky=wrong == "flaky",
        readable=wrong != "no readings",
    )


def _weights(wrong: Wrong, full: float, chance: random.Random) -> Callable[[float], float]:
    """Return how much a context weighs, in tokens of the slope that the prior is about."""
    if wrong == "sliding window":
        window, steeper = exp(chance.uniform(log(512), log(8_192))), chance.uniform(2, 6)
        return lambda context: context + (steeper - 1) * min(context, window)
    if wrong == "slope grows":
        knee = chance.uniform(0.25, 0.75) * full
        return lambda context: context + 0.3 * max(0.0, context - knee)
    return lambda context: context
