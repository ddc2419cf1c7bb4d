"""Strategies side by side on real llama.cpp, under memory budgets that bind.

gemma-3-270m is asked and filled; three generated models, whose weights are random, are only loaded.
Every strategy searches the same model under the same budget, from an empty registry, turn by turn.
Columns: loads; loads or answers that failed; tokens prefilled, as the engine itself counts them
without what came from its cache; the limit found; the wall time; the most memory that a probe took,
in % of the budget.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from pathlib import Path
from statistics import mean
from typing import Any, Final

from backends.gguf_files import write_tiny_gguf
from lmstrix.app import LMStrix
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.backends.llamacpp.packaged import assemble_demo_model
from lmstrix.ports import Generation, Loaded, LoadRequest, OnTick
from lmstrix.testing import MemoryRegistry
from lmstrix.values import Model, Proof, TestReport

STRATEGIES: Final = ("certify", "exact", "bisect")
MIB: Final = 1 << 20
DECLARED: Final = 131_072


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model with a budget in bytes; `shape` of a generated one: layers, heads, head size."""

    name: str
    proof: Proof
    budget: int
    shape: tuple[int, int, int] | None = None


_SHAPES: Final = {
    "gen-8k": ((4, 4, 128), 500, 900),
    "gen-32k": ((8, 8, 128), 1_000, 1_800),
    "gen-96k": ((24, 8, 128), 2_000, 4_000),
}
"""Generated models: layers, heads and head size, and two budgets in MiB."""

CASES: Final = (
    Case(name="gemma-3-270m", proof=Proof.ANSWER, budget=480 * MIB),
    Case(name="gemma-3-270m", proof=Proof.ANSWER, budget=520 * MIB),
    *(
        Case(name=name, proof=Proof.LOAD, budget=budget * MIB, shape=shape)
        for name, (shape, *budgets) in _SHAPES.items()
        for budget in budgets
    ),
    Case(name="gemma-3-270m", proof=Proof.FILL, budget=512 * MIB),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one strategy did to one case. Contexts and prefill in tokens, time in seconds."""

    case: str
    proof: Proof
    budget: int
    strategy: str
    loads: int
    failed: int
    prefilled: int
    limit: int
    seconds: float
    most: float


class CountingBackend(LlamaCppBackend):
    """llama.cpp, counting the tokens that its copies really prefill."""

    prefilled = 0

    def load(self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None) -> Any:
        """Load a copy that counts."""
        return _CountingCopy(super().load(model, request, on_tick=on_tick), self)


class _CountingCopy:
    def __init__(self, copy: Loaded, backend: CountingBackend) -> None:
        self._copy = copy
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._copy, name)

    def complete(self, *told: Any, **options: Any) -> Generation:
        generation = self._copy.complete(*told, **options)
        read, cached = generation.prompt_tokens or 0, generation.cached_tokens or 0
        self._backend.prefilled += read - cached
        return generation


def measure(
    cases: Sequence[Case] = CASES, strategies: Sequence[str] = STRATEGIES, *, rounds: int = 1
) -> list[Run]:
    """Return every strategy's run of every case; with several rounds, the times are means."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        assemble_demo_model(path)
        for case in cases:
            if case.shape is not None:
                _generate(path / f"{case.name}-f16.gguf", case.shape)
        runs = []
        for case in cases:
            taken = [[_run(path, case, name) for name in strategies] for _ in range(rounds)]
            runs += [_mean(list(turns)) for turns in zip(*taken, strict=True)]
        return runs


def ratios(runs: Sequence[Run], strategy: str, baseline: str) -> tuple[float, float]:
    """Return wall time and limit of `strategy` by those of `baseline`: geometric means, no fill."""
    by_case = {(run.case, run.proof, run.budget, run.strategy): run for run in runs}
    pairs = [
        (run, by_case[run.case, run.proof, run.budget, baseline])
        for run in runs
        if run.strategy == strategy and run.proof is not Proof.FILL
    ]
    return (
        _geometric([one.seconds / other.seconds for one, other in pairs]),
        _geometric([one.limit / other.limit for one, other in pairs]),
    )


def table(runs: Sequence[Run]) -> str:
    """Return `runs` for a person."""
    counted = f"{'loads':>5} {'failed':>6} {'prefilled':>9} {'limit':>7} {'time, s':>7}"
    lines = [f"{'model':13} {'proof':6} {'MiB':>5} {'strategy':8} {counted} {'memory':>7}"]
    lines += [
        f"{run.case:13} {run.proof:6} {run.budget // MIB:5} {run.strategy:8} {run.loads:5} "
        f"{run.failed:6} {run.prefilled:9,} {run.limit:7,} {run.seconds:7.1f} {run.most:6.1f}%"
        for run in runs
    ]
    unfilled = [run for run in runs if run.proof is not Proof.FILL]
    for name in sorted({run.strategy for run in unfilled} - {"bisect"}):
        time, limit = ratios(runs, name, "bisect")
        lines.append(f"{name}, without fill: {time:.2f} of bisect's time, {limit:.1%} of its limit")
    lines += [
        f"{run.strategy}: {run.prefilled / run.limit:.2f} tokens prefilled a token of the limit"
        for run in runs
        if run.proof is Proof.FILL
    ]
    return "\n".join(lines)


def _generate(path: Path, shape: tuple[int, int, int]) -> None:
    layers, heads, size = shape
    write_tiny_gguf(
        path, layers=layers, kv_heads=heads, head_size=size, context_length=DECLARED, name=path.stem
    )


def _run(folder: Path, case: Case, strategy: str) -> Run:
    backend = CountingBackend([folder], HeaderCache(folder / "headers.json"))
    with LMStrix(home=folder, backend=backend, registry=MemoryRegistry()) as strix:
        report = strix.test_context(
            case.name, proof=case.proof, strategy=strategy, memory_budget=case.budget
        )
    taken = [probe.memory_bytes or 0 for probe in report.probes]
    return Run(
        case=case.name,
        proof=case.proof,
        budget=case.budget,
        strategy=strategy,
        loads=len(report.probes),
        failed=sum(not probe.passed for probe in report.probes),
        prefilled=backend.prefilled,
        limit=_limit(report, case.proof),
        seconds=report.elapsed_s,
        most=100 * max(taken) / case.budget,
    )


def _limit(report: TestReport, proof: Proof) -> int:
    limits = report.limits
    found = {
        Proof.LOAD: limits.loadable,
        Proof.ANSWER: limits.answered,
        Proof.FILL: limits.usable,
    }
    return found[proof] or 0


def _mean(turns: Sequence[Run]) -> Run:
    first = turns[0]
    return Run(**{**vars(first), "seconds": mean(turn.seconds for turn in turns)})


def _geometric(values: Sequence[float]) -> float:
    return exp(mean(map(log, values)))


def main(arguments: Sequence[str]) -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description="Compare strategies on real llama.cpp.")
    parser.add_argument("--rounds", type=int, default=1, help="runs of which the times are means")
    parser.add_argument("--proof", choices=["load", "answer", "fill"], action="append")
    parser.add_argument("--json", action="store_true", help="print JSON")
    chosen = parser.parse_args(arguments)
    cases = [case for case in CASES if case.proof in (chosen.proof or list(Proof))]
    runs = measure(cases, rounds=chosen.rounds)
    print(json.dumps([asdict(run) for run in runs], indent=2) if chosen.json else table(runs))
