"""What a search will cost at most: probes, tokens to read, seconds, bytes. Pure.

Before the first probe the time is known only if earlier probes with the same fingerprint tell how
fast the model loads and reads. Afterwards the search's own probes tell, and bound it more closely.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from lmstrix.engine.plan import TestPlan
from lmstrix.engine.strategy import SearchSpace, most_probes, most_to_descend
from lmstrix.sizes import show_bytes
from lmstrix.values import Forecast, Probe, Proof

BRIEF: Final = 512
"""Tokens that the short questions of one probe take at most."""
_LEAST_WINDOW: Final = 1_024
"""Smallest window that is worth filling, in tokens; it also shows cheaply that a runtime works."""
_QUESTION: Final = 100
"""Tokens of one question at the end of a window, its template included, at most."""
_ASKED: Final = 16
"""Questions that `recall` asks on one stair: eight facts, each with another to fall back on."""


def forecast(plan: TestPlan, space: SearchSpace, earlier: Iterable[Probe] = ()) -> Forecast:
    """Return what a search of `space` costs, or the one probe that the plan asks for.

    Not included is what lies below a context that fails the stronger proof: see `descent`.

    Args:
        plan: What was asked for.
        space: Where it may search.
        earlier: Probes with the same fingerprint.
    """
    left = 0 if plan.context is not None else most_probes(space, plan.strategy)
    probes, tokens = _rest(plan, left, space.ceiling)
    return Forecast(
        probes=probes,
        prefill_tokens=tokens,
        seconds=_seconds(probes, tokens, earlier, least_read=BRIEF + 1),
        memory_bytes=_most_bytes(space),
    )


def reforecast(plan: TestPlan, space: SearchSpace, done: Sequence[Probe]) -> Forecast:
    """Return what a search still costs, by what it measured so far.

    Args:
        plan: What was asked for.
        space: Where it may search.
        done: The probes that it has made.
    """
    failed = (probe.requested for probe in done if probe.outcome and probe.outcome.refutes)
    top = min((space.ceiling, *failed))
    left = max(0, most_probes(space, plan.strategy) - len(done))
    probes, tokens = _rest(plan, left, top)
    seconds = _seconds(probes, tokens, done, least_read=BRIEF + 1)
    if seconds is None:
        seconds = _seconds(probes, tokens, done)
    return Forecast(
        probes=probes, prefill_tokens=tokens, seconds=seconds, memory_bytes=_most_bytes(space)
    )


def descent(
    plan: TestPlan, space: SearchSpace, found: int, done: Iterable[Probe] = ()
) -> tuple[SearchSpace, Forecast]:
    """Return where to go on, and at what cost, if `found` fails the stronger proof.

    Args:
        plan: What was asked for.
        space: Where was searched.
        found: The context that fails.
        done: Probes that tell how long the next ones take.
    """
    below = SearchSpace(
        ceiling=found, granularity=plan.granularity, threshold=found, floor=_LEAST_WINDOW
    )
    probes = most_to_descend(below) - 1
    tokens = probes * prefill(plan.proof, found)
    return below, Forecast(
        probes=probes,
        prefill_tokens=tokens,
        seconds=_seconds(probes, tokens, done, least_read=BRIEF + 1),
        memory_bytes=space.budget_bytes,
    )


def describe(cost: Forecast) -> str:
    """Return a forecast for a person."""
    plural = "" if cost.probes == 1 else "s"
    parts = [f"at most {cost.probes} probe{plural}"]
    if cost.prefill_tokens:
        parts.append(f"{cost.prefill_tokens:,} tokens to read")
    if cost.memory_bytes is not None:
        parts.append(f"each within {show_bytes(cost.memory_bytes)} of memory")
    if cost.seconds is not None:
        parts.append(f"about {cost.seconds:,.0f} s")
    return ", ".join(parts)


def prefill(proof: Proof, context: int) -> int:
    """Return how many tokens one probe of `context` tokens reads at most."""
    stairs = (context // BRIEF).bit_length()  # each is twice as deep as the one before
    match proof:
        case Proof.LOAD:
            return 0
        case Proof.ANSWER:
            return BRIEF
        case Proof.FILL:
            return context + stairs * _QUESTION + BRIEF
        case Proof.RECALL:
            return context + stairs * _ASKED * _QUESTION + BRIEF


def _rest(plan: TestPlan, searching: int, top: int) -> tuple[int, int]:
    """Return probes and tokens: so many that search up to `top`, and the one that proves it.

    Where the search goes by the proof that is wanted, its last pass is that one.
    """
    last = plan.context is not None or plan.searching is not plan.proof
    tokens = searching * prefill(plan.searching, top) + last * prefill(plan.proof, top)
    if plan.proof is Proof.RECALL:  # where recall cannot be measured, the window is filled instead
        return searching + last + 1, tokens + prefill(Proof.FILL, top)
    return searching + last, tokens


def _most_bytes(space: SearchSpace) -> int | None:
    """Return what the largest load is predicted to take, or may: whichever is less."""
    cap, prior = space.budget_bytes, space.prior
    if prior is None or prior.fixed_bytes is None:
        return cap
    predicted = prior.fixed_bytes + round(prior.bytes_per_token * space.ceiling)
    return predicted if cap is None else min(cap, predicted)


def _seconds(
    probes: int, tokens: int, measured: Iterable[Probe], *, least_read: int = 1
) -> float | None:
    """Return the time that loads and prefill take, at the slowest that was measured.

    The speed over a few sentences says little about the speed over a window: `least_read` is how
    many tokens a probe has to have read for its speed to count.
    """
    passed = [probe for probe in measured if probe.passed]
    loads = [probe.load_s for probe in passed if probe.load_s is not None]
    speeds = [
        probe.prefill_tps
        for probe in passed
        if probe.prefill_tps and probe.prefilled_tokens >= least_read
    ]
    if not loads or (tokens and not speeds):
        return None
    return probes * max(loads) + (tokens / min(speeds) if tokens else 0.0)
