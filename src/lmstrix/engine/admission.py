"""What a test may do before it does anything: is the request sound, is it safe, how far. Pure.

**Safe** means that the machine has the memory to try. It is asked what it can spare now, which
leaves out what others have loaded. A test is refused if the model alone, or with the smallest
context that it would be loaded with, is known or predicted to take more than that. A budget that
the user chose is no matter of safety: the runtime keeps to it, so a test in one that is too small
is made, and shows that nothing works in it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Final

from lmstrix.engine.forecast import forecast
from lmstrix.engine.memory import reserve_bytes, spare_bytes
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.strategy import SearchSpace
from lmstrix.errors import ContextTooLongError, RequestError, UnsafeError
from lmstrix.ports import MachineMemory, Prior
from lmstrix.sizes import show_bytes
from lmstrix.values import Forecast, Model, Outcome, Probe, Proof


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What a test finds on the machine.

    Attributes:
        memory: The machine's, once all has been unloaded that is to be. None: it cannot be read.
        held: The copies that somebody else loaded and that stay, a few words each.
    """

    memory: MachineMemory | None = None
    held: Sequence[str] = ()

    def describe(self, cap_bytes: int | None) -> str:
        """Return the conditions for a person, with the most that the model may take."""
        parts = ["memory cannot be read"] if self.memory is None else list(_free(self.memory))
        if cap_bytes is not None:
            parts.append(f"at most {show_bytes(cap_bytes)} for the model")
        if not self.held:
            return ", ".join(parts)
        plural = "s" * (len(self.held) > 1)
        listed = ", ".join(self.held)
        return f"{', '.join(parts)}; {len(self.held)} model{plural} loaded by others ({listed})"


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


UNTOLD: Final = Conditions()
"""Where nothing is known of the machine."""


def admit(
    model: Model,
    plan: TestPlan,
    *,
    earlier: Sequence[Probe],
    prior: Prior | None = None,
    conditions: Conditions = UNTOLD,
) -> Admission:
    """Return what testing `model` as `plan` says may do.

    Args:
        model: The model to test.
        plan: What was asked for.
        earlier: The probes made with the same fingerprint, oldest first.
        prior: What is thought that the model takes.
        conditions: What it finds on the machine.

    Raises:
        ContextTooLongError: The context asked for is above the declared one.
        RequestError: The plan cannot be followed.
        UnsafeError: The machine lacks the memory to try.
    """
    barred = None if plan.force else smallest_interrupted(earlier)
    space = SearchSpace(
        ceiling=_asked(model, plan),
        granularity=plan.granularity,
        threshold=plan.threshold,
        prior=_once_read(prior, plan),
    )
    if barred is not None and barred <= space.ceiling:
        space = replace(space, ceiling=_below(barred, model, plan))
    spare = _spare_bytes(conditions, plan)
    cap = min((size for size in (plan.chosen_budget, spare) if size is not None), default=None)
    if spare is not None and cap != plan.chosen_budget:
        smallest = plan.context or space.start
        _refuse_unsafe(model, smallest, space.prior, spare=spare, held=conditions.held)
    space = replace(space, budget_bytes=cap)
    plan.open_strategy(space)  # an unknown one is refused before anything is loaded
    return Admission(
        space=space, barred=barred, cap_bytes=cap, forecast=forecast(plan, space, earlier)
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


def _free(memory: MachineMemory) -> Iterable[str]:
    yield f"{show_bytes(memory.available)} of {show_bytes(memory.total)} free"
    yield f"swap {show_bytes(memory.swap_used)} used"
    yield f"{show_bytes(reserve_bytes(memory.total))} kept in reserve"
    for card in memory.accelerators:
        yield f"{card.name} {show_bytes(card.free)} of {show_bytes(card.total)} free"


def _spare_bytes(conditions: Conditions, plan: TestPlan) -> int | None:
    """Return what the machine can spare; without its cards, if no layer is to be put on one."""
    memory = conditions.memory
    if memory is None:
        return None
    return spare_bytes(replace(memory, accelerators=()) if plan.config.gpu_layers == 0 else memory)


def _once_read(prior: Prior | None, plan: TestPlan) -> Prior | None:
    """Return `prior` for a window that is read to its end, if the plan has it read."""
    if prior is None or plan.proof.strength < Proof.FILL.strength:
        return prior
    return replace(prior, bytes_per_token=prior.bytes_per_token + prior.filling)


def _refuse_unsafe(
    model: Model, smallest: int, prior: Prior | None, *, spare: int, held: Sequence[str]
) -> None:
    """Refuse a model that takes more than `spare` bytes at the smallest context to be loaded."""
    alone, slope = model.size_bytes or 0, 0.0
    if prior is not None:
        alone = alone if prior.fixed_bytes is None else prior.fixed_bytes
        slope = prior.bytes_per_token
    needed = max(1, alone + ceil(slope * smallest))
    if needed <= spare:
        return
    what = f"`{model.key}` takes about {show_bytes(needed)} at {smallest:,} tokens"
    if alone > spare:
        what = f"`{model.key}` takes {show_bytes(alone)} without any context"
    remedy = f"close other programs until {show_bytes(needed - spare)} more are free"
    if held:
        remedy = f"unload {', '.join(held)}, or {remedy}"
    raise UnsafeError(f"{what}, and the machine can spare {show_bytes(spare)}", hint=remedy)


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
