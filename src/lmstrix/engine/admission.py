"""What a test may do before it does anything: is the request sound, how far, at what cost. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from lmstrix.engine.plan import TestPlan
from lmstrix.engine.strategy import SearchSpace, most_probes, most_to_descend
from lmstrix.errors import ContextTooLongError, RequestError
from lmstrix.sizes import show_bytes
from lmstrix.values import Forecast, Model, Outcome, Probe, Proof

BRIEF: Final = 512
"""Tokens that the short questions of one probe take at most."""


@dataclass(frozen=True, kw_only=True)
class Admission:
    """What a test may do.

    Attributes:
        space: Where it may search.
        barred: The smallest context that an interrupted probe keeps it from, if any does.
        cap_bytes: Most memory that a loaded model may take, or None.
        forecast: What it will cost.
    """

    space: SearchSpace
    barred: int | None
    cap_bytes: int | None
    forecast: Forecast


def admit(
    model: Model, plan: TestPlan, *, earlier: Sequence[Probe], spare_bytes: int | None
) -> Admission:
    """Return what testing `model` as `plan` says may do.

    Args:
        model: The model to test.
        plan: What was asked for.
        earlier: The probes made with the same fingerprint, oldest first.
        spare_bytes: Memory that a model may take now, if that is known.

    Raises:
        ContextTooLongError: The context asked for is above the declared one.
        RequestError: The plan cannot be followed.
    """
    if plan.proof is Proof.RECALL:
        raise RequestError(
            "the proof `recall` is not available in this version",
            hint="`--proof fill` is the strongest there is",
        )
    barred = None if plan.force else smallest_interrupted(earlier)
    caps = [cap for cap in (plan.chosen_budget, spare_bytes) if cap is not None]
    cap = min(caps, default=None)
    space = SearchSpace(
        ceiling=_asked(model, plan),
        granularity=plan.granularity,
        threshold=plan.threshold,
        budget_bytes=cap,
    )
    if barred is not None and barred <= space.ceiling:
        space = replace(space, ceiling=_below(barred, model, plan))
    plan.open_strategy(space)  # an unknown one is refused before anything is loaded
    return Admission(
        space=space, barred=barred, cap_bytes=cap, forecast=_forecast(plan, space, earlier, cap)
    )


def smallest_interrupted(earlier: Iterable[Probe]) -> int | None:
    """Return the smallest context at which an interruption stands, or None.

    It stands until as strong a proof has passed at that context or above it.
    """
    standing: list[Probe] = []
    for probe in earlier:
        if probe.outcome is Outcome.INTERRUPTED:
            standing.append(probe)
        elif probe.passed:
            standing = [
                old
                for old in standing
                if old.requested > probe.requested or old.proof.strength > probe.proof.strength
            ]
    return min((probe.requested for probe in standing), default=None)


def descent(plan: TestPlan, admission: Admission, found: int) -> tuple[SearchSpace, Forecast]:
    """Return where to go on, and at what cost, if `found` fails the proof."""
    space = SearchSpace(ceiling=found, granularity=plan.granularity, threshold=found)
    probes = most_to_descend(space) - 1
    return space, Forecast(
        probes=probes,
        prefill_tokens=probes * _prefill(plan.proof, found),
        seconds=None,
        memory_bytes=admission.cap_bytes,
    )


def describe(forecast: Forecast) -> str:
    """Return `forecast` for a person."""
    plural = "" if forecast.probes == 1 else "s"
    parts = [f"at most {forecast.probes} probe{plural}"]
    if forecast.prefill_tokens:
        parts.append(f"{forecast.prefill_tokens:,} tokens to read")
    if forecast.memory_bytes is not None:
        parts.append(f"each within {show_bytes(forecast.memory_bytes)} of memory")
    if forecast.seconds is not None:
        parts.append(f"about {forecast.seconds:,.0f} s")
    return ", ".join(parts)


def _asked(model: Model, plan: TestPlan) -> int:
    """Return the largest context that the plan speaks of."""
    declared, asked = model.declared_context, plan.context or model.declared_context
    if asked is None:
        raise RequestError(
            f"`{model.key}` declares no context to search below",
            hint=f"probe one size: `lmstrix test {model.key} --ctx 8192`",
        )
    if declared is not None and asked > declared:
        raise ContextTooLongError(
            f"`{model.key}` declares {declared:,} tokens, {asked:,} were asked for",
            needed=asked,
            available=declared,
            hint=f"ask for {declared} tokens at most",
        )
    return asked


def _below(barred: int, model: Model, plan: TestPlan) -> int:
    """Return the largest context to search up to, below one that was interrupted."""
    below = (barred - 1) // plan.granularity * plan.granularity
    if plan.context is not None or below < 1:
        again = f" --ctx {plan.context}" if plan.context else ""
        raise RequestError(
            f"a probe of `{model.key}` at {barred:,} tokens was interrupted",
            hint=f"`lmstrix test {model.key}{again} --force` tries that size again",
        )
    return below


def _forecast(
    plan: TestPlan, space: SearchSpace, earlier: Sequence[Probe], cap: int | None
) -> Forecast:
    if plan.context is not None:
        probes, tokens = 1, _prefill(plan.proof, plan.context)
    else:
        probes = most_probes(space)
        tokens = probes * _prefill(plan.searching, space.ceiling)
        if plan.searching is not plan.proof:
            probes, tokens = probes + 1, tokens + _prefill(plan.proof, space.ceiling)
    return Forecast(
        probes=probes,
        prefill_tokens=tokens,
        seconds=_seconds(probes, tokens, earlier),
        memory_bytes=cap,
    )


def _prefill(proof: Proof, context: int) -> int:
    match proof:
        case Proof.LOAD:
            return 0
        case Proof.ANSWER:
            return BRIEF
        case Proof.FILL | Proof.RECALL:
            return context + BRIEF


def _seconds(probes: int, tokens: int, earlier: Iterable[Probe]) -> float | None:
    """Return the time that loads and prefill will take, at the slowest that was measured."""
    passed = [probe for probe in earlier if probe.passed]
    loads = [probe.load_s for probe in passed if probe.load_s is not None]
    # The speed over a few sentences says little about the speed over a window.
    speeds = [
        probe.prefill_tps
        for probe in passed
        if probe.prefill_tps and (probe.prompt_tokens or 0) > BRIEF
    ]
    if not loads or (tokens and not speeds):
        return None
    return probes * max(loads) + (tokens / min(speeds) if tokens else 0.0)
