"""Which loaded copy to use, or at what context to load a new one. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from lmstrix.engine.strategies.space import GRAIN
from lmstrix.errors import ContextTooLongError, RequestError
from lmstrix.values import LoadedModel, Model

STEP: Final = 1_024
LEAST: Final = 4 * STEP
DEFAULT_OUT: Final = 1_024
"""Tokens to generate at most when nobody said how many."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Room for the answer: a number of tokens, or a share of the effective context."""

    tokens: int = DEFAULT_OUT
    share: float | None = None

    @classmethod
    def parse(cls, out_ctx: int | str | None) -> "Room":
        """Return the room that `out_ctx` asks for: `256`, `"25%"`, or None for the default.

        Raises:
            RequestError: It is not a positive number, or not a share below the whole.
        """
        if out_ctx is None:
            return cls()
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(out_ctx))
        if match and match[2] and 0 < float(match[1]) < 100:
            return cls(share=float(match[1]) / 100)
        if match and not match[2] and match[1].isdigit() and int(match[1]) > 0:
            return cls(tokens=int(match[1]))
        raise RequestError(
            f"not a length for the answer: `{out_ctx}`",
            hint="write a number of tokens, like `256`, or a share of the context, like `25%`",
        )

    def within(self, context: int) -> int:
        """Return the tokens that this room has in a window of `context`, at least one."""
        return self.tokens if self.share is None else max(1, int(context * self.share))

    def window(self, prompt_tokens: int) -> int:
        """Return the smallest window with this room behind a prompt."""
        if self.share is None:
            return prompt_tokens + self.tokens
        return ceil(prompt_tokens / (1 - self.share)) + 1


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to do.

    Attributes:
        reuse: The loaded copy to use; None: load one.
        context: The context to ask for, or that was asked for; None leaves it to the runtime.
        reason: Why this context is loaded, in a few words.
        warnings: What the user should know.
    """

    reuse: LoadedModel | None = None
    context: int | None = None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def plan_load(
    model: Model,
    loaded: Sequence[LoadedModel],
    *,
    in_ctx: int | None,
    window: int,
    force_reload: bool = False,
) -> LoadPlan:
    """Return how to come by a copy of `model` with the context asked for.

    A loaded copy is reused if its context is the one asked for, rounding aside; any is, if the
    runtime may choose; with no wish, one that has the window needed. A new copy gets exactly
    `in_ctx`, or the smallest multiple of 1 024 that holds the window: not under 4 096, and within
    the measured limit, or the declared one while nothing was measured.

    Args:
        model: The model, with what is known of its limits.
        loaded: Its copies that are loaded now.
        in_ctx: Context asked for, in tokens; 0 leaves it to the runtime, None to this plan.
        window: Tokens that prompt and answer need together.
        force_reload: Do not reuse a loaded copy.

    Raises:
        ContextTooLongError: `in_ctx` is above what the model declares.
        RequestError: `in_ctx` is negative.
    """
    _check(model, in_ctx)
    least = in_ctx if in_ctx is not None else _within(limit_of(model), window)
    fitting = [copy for copy in loaded if _fits(copy, least, exactly=bool(in_ctx))]
    if fitting and not force_reload:
        largest = max(fitting, key=lambda copy: copy.context or 0)
        return LoadPlan(reuse=largest, context=in_ctx or None, warnings=_untested(model, in_ctx))
    if in_ctx is None:
        rounded = max(LEAST, ceil(window / STEP) * STEP)
        return LoadPlan(context=_within(limit_of(model), rounded), reason="fits the prompt")
    if in_ctx == 0:
        return LoadPlan(reason="left to the runtime")
    return LoadPlan(context=in_ctx, reason="explicit --in_ctx", warnings=_untested(model, in_ctx))


def limit_of(model: Model) -> int | None:
    """Return the largest context that may be chosen for `model`: measured, else declared."""
    return (model.limits.best if model.limits else None) or model.declared_context


def _check(model: Model, in_ctx: int | None) -> None:
    if in_ctx is not None and in_ctx < 0:
        raise RequestError(
            f"not a context: `{in_ctx}`", hint="say how many tokens, or 0 for the runtime's choice"
        )
    declared = model.declared_context
    if in_ctx and declared is not None and in_ctx > declared:
        raise ContextTooLongError(
            f"`{model.key}` declares {declared:,} tokens, {in_ctx:,} were asked for",
            needed=in_ctx,
            available=declared,
            hint=f"ask for {limit_of(model)} tokens at most",
        )


def _within(limit: int | None, tokens: int) -> int:
    return tokens if limit is None else min(limit, tokens)


def _fits(copy: LoadedModel, least: int, *, exactly: bool) -> bool:
    if copy.context is None:
        return least == 0
    return copy.context >= least and (not exactly or copy.context < least + GRAIN)


def _untested(model: Model, in_ctx: int | None) -> tuple[str, ...]:
    best = model.limits.best if model.limits else None
    if best is None or in_ctx is None or in_ctx <= best:
        return ()
    return (f"{in_ctx:,} tokens were asked for, {best:,} is the most that was seen to work",)
