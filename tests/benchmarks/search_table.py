"""Strategies side by side on simulated machines.

Every strategy searches the same machines (`search_law.py`). Columns: loads on average and in the
95th percentile; loads that failed, in a run; runs without one; the worst overshoot of a run beyond
the budget, median and 95th percentile, in % of it; how much of the true limit is given away, on
average; runs that end within the granularity; runs that claim more than the truth.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Final, get_args

from benchmarks.search_law import BUDGET, Machine, Wrong, draw
from lmstrix.engine.strategy import STRATEGIES, SearchSpace, Strategy
from lmstrix.values import Probe

DECLARED: Final = (131_072, 262_144, 1_048_576)
SEED: Final = 5
RUNS: Final = 3_000


class Halve:
    """Plain bisection from nothing to the declared limit, without a floor to begin at."""

    def __init__(self, space: SearchSpace) -> None:
        self._step = space.granularity
        self._low, self._high = 0, space.ceiling + space.granularity

    @property
    def stopped_because(self) -> str:
        """See `Strategy.stopped_because`."""
        return "" if self.next_context() else "bracketed"

    def next_context(self) -> int | None:
        """See `Strategy.next_context`."""
        if self._high - self._low <= self._step:
            return None
        return (self._low + self._high) // 2 // self._step * self._step

    def tell(self, probe: Probe) -> None:
        """See `Strategy.tell`."""
        if probe.passed:
            self._low = probe.requested
        else:
            self._high = probe.requested


COMPARED: Final[Mapping[str, Callable[[SearchSpace], Strategy]]] = {
    "plain bisection": Halve,
    **{name: STRATEGIES[name] for name in ("bisect", "climb", "exact", "certify")},
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One strategy on one kind of machine. Parts are in per cent."""

    strategy: str
    wrong: Wrong
    declared: int
    probes: float
    probes_p95: int
    failed: float
    clean: float
    overshoot: float
    overshoot_p95: float
    given_away: float
    within: float
    false: float


def measure(name: str, wrong: Wrong, declared: int, *, runs: int, seed: int = SEED) -> Row:
    """Return what the strategy called `name` does in that many runs."""
    machines = [draw(declared, wrong, _chance(seed, wrong, declared, run)) for run in range(runs)]
    for machine in machines:
        _search(COMPARED[name](machine.space), machine)
    loads = sorted(len(machine.probes) for machine in machines)
    worst = sorted(100 * max(machine.overshoot, default=0.0) / BUDGET for machine in machines)
    short = [machine.limit - machine.found for machine in machines]
    granule = machines[0].space.granularity
    lost = (gap / machine.limit for gap, machine in zip(short, machines, strict=True))
    return Row(
        strategy=name,
        wrong=wrong,
        declared=declared,
        probes=mean(loads),
        probes_p95=loads[int(0.95 * runs)],
        failed=mean(machine.failed for machine in machines),
        clean=_part(not machine.failed for machine in machines),
        overshoot=worst[runs // 2],
        overshoot_p95=worst[int(0.95 * runs)],
        given_away=100 * mean(max(0.0, part) for part in lost),
        within=_part(0 <= gap <= granule for gap in short),
        false=_part(gap < 0 for gap in short),
    )


def table(rows: Sequence[Row]) -> str:
    """Return `rows` for a person."""
    heads = f"{'loads':>5} {'p95':>4} {'failed':>6} {'clean':>6} {'over':>5} {'p95':>6}"
    lines = [
        f"{'strategy':15} {'declared':>9} {heads} {'given away':>10} {'within':>6} {'false':>6}"
    ]
    for row, before in zip(rows, [None, *rows], strict=False):
        if before is None or row.wrong != before.wrong:
            lines.append(f"\nwrong: {row.wrong}")
        lines.append(
            f"{row.strategy:15} {row.declared:9,} {row.probes:5.2f} {row.probes_p95:4} "
            f"{row.failed:6.2f} {row.clean:5.1f}% {row.overshoot:4.1f}% {row.overshoot_p95:5.1f}% "
            f"{row.given_away:9.1f}% {row.within:5.1f}% {row.false:5.1f}%"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description="Compare strategies on simulated machines.")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs a cell")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--wrong", choices=get_args(Wrong), action="append", help="only this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    rows = [
        measure(name, wrong, declared, runs=chosen.runs, seed=chosen.seed)
        for wrong in chosen.wrong or get_args(Wrong)
        for declared in DECLARED
        for name in COMPARED
    ]
    if chosen.json:
        found = {"runs": chosen.runs, "seed": chosen.seed, "rows": [asdict(row) for row in rows]}
        print(json.dumps(found, indent=2))
    else:
        print(table(rows))


def _search(strategy: Strategy, machine: Machine) -> None:
    while (context := strategy.next_context()) is not None:
        strategy.tell(machine.probe(context))


def _chance(*what: object) -> random.Random:
    return random.Random(repr(what))  # noqa: S311 - repeatable on purpose, and no secret


def _part(said: Iterable[bool]) -> float:
    return 100 * mean(said)
