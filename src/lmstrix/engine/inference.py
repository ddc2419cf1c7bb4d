"""Answer a prompt: plan the load, reuse a copy or load one, count, complete.

A copy that is loaded here stays loaded for the next prompt; it belongs to the backend, which
releases it when it is closed. Before another one of the same model is loaded, ours is unloaded:
nobody wants to pay for two. Copies that somebody else loaded are used, and never unloaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from lmstrix.engine.events import OnEvent, ignore
from lmstrix.engine.loading import STEP, LoadPlan, Room, limit_of, plan_load
from lmstrix.errors import ContextTooLongError, RequestError
from lmstrix.ports import (
    Backend,
    Clock,
    Generation,
    Loaded,
    LoadRequest,
    Prompt,
    Sampling,
    Tick,
)
from lmstrix.values import Completion, Event, EventKind, LoadConfig, LoadedModel, Model

TEMPLATE_TOKENS = 64
"""What a chat template adds at most, for a guess made before the model can count."""


class InferOptions(TypedDict, total=False):
    """The fields of an `InferRequest` that a caller may leave out."""

    system: str
    in_ctx: int | None
    out_ctx: int | str | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    min_p: float | None
    repeat_penalty: float | None
    seed: int | None
    stop: tuple[str, ...]
    raw: bool | None
    force_reload: bool
    budget_bytes: int | None
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """What to answer, and how. What is None is left to the runtime, unless said otherwise.

    Attributes:
        prompt: What to answer or continue.
        system: The system prompt.
        in_ctx: Context to load, in tokens; 0 leaves it to the runtime; None: as the prompt needs.
        out_ctx: Tokens to generate at most, or a share of the effective context such as `25%`;
            None: what is left of the window, and 1 024 at most.
        temperature: Higher is more varied; 0 always takes the likeliest token.
        top_p: Choose among the likeliest tokens that make up this probability.
        top_k: Choose among this many of the likeliest tokens.
        min_p: Leave out tokens less likely than this share of the likeliest one.
        repeat_penalty: Above 1 discourages repetition.
        seed: The same seed and prompt give the same answer, as far as the runtime keeps that.
        stop: Texts that end the answer.
        raw: Whether the prompt goes past the chat template; None: only where there is none.
        force_reload: Load a new copy even if a loaded one would do.
        budget_bytes: Most memory that the loaded model may take.
        timeout_s: Longest that a load, or a silence while generating, may last.
    """

    prompt: str
    system: str = ""
    in_ctx: int | None = None
    out_ctx: int | str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    raw: bool | None = None
    force_reload: bool = False
    budget_bytes: int | None = None
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        if not (self.prompt.strip() or self.system.strip()):
            raise RequestError(
                "the prompt is empty", hint='say something: `lmstrix infer "Why is the sky blue?"`'
            )

    def estimate(self) -> int:
        """Return about how many tokens the prompt has; a model that is loaded counts better."""
        text = len(self.prompt.encode()) + len(self.system.encode())
        return text // 3 + TEMPLATE_TOKENS

    def as_prompt(self, copy: Loaded) -> Prompt:
        """Return the prompt in the form that suits `copy`."""
        chat = copy.has_chat_template if self.raw is None else not self.raw
        return Prompt(text=self.prompt, system=self.system, chat=chat)

    def sampling(self, max_tokens: int) -> Sampling:
        """Return how tokens are to be chosen."""
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            min_p=self.min_p,
            repeat_penalty=self.repeat_penalty,
            seed=self.seed,
            stop=self.stop,
        )


def run_infer(
    model: Model,
    request: InferRequest,
    *,
    backend: Backend,
    clock: Clock,
    on_event: OnEvent = ignore,
) -> Completion:
    """Answer `request` with `model`, from a loaded copy if one will do.

    Once the prompt is counted, a copy that proves too small is replaced by a larger one, provided
    that `in_ctx` was left open and nothing was measured against it.

    Raises:
        ContextTooLongError: `in_ctx`, or the prompt itself, is more than the model holds. Nothing
            was sent to it.
        RequestError: `in_ctx` or `out_ctx` is no length.
        BackendError: The runtime failed to load or to answer.
    """
    call = _Call(
        model=model,
        request=request,
        room=Room.parse(request.out_ctx),
        backend=backend,
        clock=clock,
        on_event=on_event,
    )
    return call.answer()


@dataclass(frozen=True, kw_only=True)
class _Seat:
    """A copy to ask, how it was come by, and the tokens that the prompt has there."""

    copy: Loaded
    plan: LoadPlan
    prompt_tokens: int

    @property
    def left(self) -> int:
        """Tokens that the window has left for the answer."""
        return self.copy.context - self.prompt_tokens


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of `run_infer` under way."""

    model: Model
    request: InferRequest
    room: Room
    backend: Backend
    clock: Clock
    on_event: OnEvent

    def answer(self) -> Completion:
        """Find a copy, ask it, and tell what came of it."""
        seat = self._seat()
        most = min(self.room.within(seat.copy.context), seat.left)
        self._tell("prefill", "Running inference...", done=0, total=seat.prompt_tokens)
        began = self.clock.seconds()
        generation = seat.copy.complete(
            self.request.as_prompt(seat.copy),
            self.request.sampling(most),
            stall_s=self.request.timeout_s,
            on_tick=self._relay,
        )
        completion = self._completion(seat, generation, self.clock.seconds() - began)
        self._tell("finished", _summary(completion))
        return completion

    def _seat(self) -> _Seat:
        """Return a copy that holds the prompt; what was guessed too small is replaced once."""
        seat = self._take(self.request.estimate(), force_reload=self.request.force_reload)
        if self.request.in_ctx is None:
            limit = limit_of(self.model)
            window = self.room.window(seat.prompt_tokens)
            if seat.copy.context < (window if limit is None else min(window, limit)):
                seat = self._take(seat.prompt_tokens, force_reload=False)
        if seat.left < 1:
            raise self._too_long(seat)
        return seat

    def _take(self, prompt_tokens: int, *, force_reload: bool) -> _Seat:
        """Reuse or load a copy with room for about that many tokens, and count the prompt there."""
        held = self._held()
        plan = plan_load(
            self.model,
            [LoadedModel(identifier=name, context=copy.context) for name, copy in held.items()],
            in_ctx=self.request.in_ctx,
            window=self.room.window(prompt_tokens),
            force_reload=force_reload,
        )
        if plan.reuse is None:
            copy = self._load(plan, held.values())
        else:
            copy = held[plan.reuse.identifier]
            self._tell(
                "reused",
                f"Reusing {self.model.key}, already loaded at context {copy.context}",
                context=copy.context,
            )
        counted = copy.count_tokens(self.request.as_prompt(copy))
        return _Seat(copy=copy, plan=plan, prompt_tokens=counted)

    def _held(self) -> dict[str, Loaded]:
        found = (
            self.backend.attach(copy.identifier)
            for key, copy in self.backend.loaded()
            if key == self.model.key
        )
        return {copy.identifier: copy for copy in found if copy is not None}

    def _load(self, plan: LoadPlan, held: Iterable[Loaded]) -> Loaded:
        for copy in held:
            if copy.load_s is not None:  # ours; the copies of others are not ours to unload
                copy.unload()
        at = "" if plan.context is None else f" at context {plan.context}"
        message = f"Loading {self.model.key}{at}... ({plan.reason})"
        self._tell("loading", message, context=plan.context)
        loaded = self.backend.load(
            self.model,
            LoadRequest(
                context=plan.context,
                config=LoadConfig(),
                budget_bytes=self.request.budget_bytes,
                timeout_s=self.request.timeout_s,
            ),
            on_tick=self._relay,
        )
        took = "" if loaded.load_s is None else f" in {loaded.load_s:.1f}s"
        self._tell("loaded", f"Model loaded{took}", context=loaded.context)
        return loaded

    def _too_long(self, seat: _Seat) -> ContextTooLongError:
        needed, available = seat.prompt_tokens + 1, seat.copy.context
        limit = limit_of(self.model)
        if limit is None or limit >= needed:
            rounded = -(-needed // STEP) * STEP
            hint = f"load it with `--in_ctx {rounded if limit is None else min(rounded, limit)}`"
        else:
            hint = (
                "shorten the prompt, or choose a model that holds more: `lmstrix list --sort ctxd`"
            )
        return ContextTooLongError(
            f"the prompt has {seat.prompt_tokens:,} tokens, "
            f"`{self.model.key}` holds {available:,} with the answer",
            needed=needed,
            available=available,
            hint=hint,
        )

    def _completion(self, seat: _Seat, generation: Generation, infer_s: float) -> Completion:
        reused = seat.plan.reuse is not None
        return Completion(
            text=generation.text,
            model=self.model.key,
            requested_context=seat.plan.context,
            effective_context=seat.copy.context,
            reused=reused,
            prompt_tokens=generation.prompt_tokens,
            completion_tokens=generation.completion_tokens,
            stop_reason=generation.stop_reason,
            truncated=generation.stop_reason != "stop",
            load_s=None if reused else seat.copy.load_s,
            infer_s=infer_s,
            ttft_s=generation.ttft_s,
            decode_tps=generation.decode_tps,
            warnings=self._warnings(seat, generation),
        )

    def _warnings(self, seat: _Seat, generation: Generation) -> tuple[str, ...]:
        warnings = list(seat.plan.warnings)
        effective, asked = seat.copy.context, seat.plan.context
        if asked is not None and effective < asked:
            warnings.append(f"the runtime loaded {effective:,} tokens instead of {asked:,}")
        room = self.room.within(effective)
        if self.request.out_ctx is not None and room > seat.left:
            warnings.append(f"the window had {seat.left:,} tokens left for an answer of {room:,}")
        read = generation.prompt_tokens
        if read is not None and read < seat.prompt_tokens:
            warnings.append(
                f"the runtime read {read:,} of the prompt's {seat.prompt_tokens:,} tokens"
            )
        return tuple(warnings)

    def _relay(self, tick: Tick) -> None:
        if tick.phase == "load":
            self._tell("loading", done=tick.done, total=tick.total)
        elif tick.phase == "decode" and tick.text:
            self._tell("text", text=tick.text, done=tick.done, total=tick.total)
        else:
            self._tell(tick.phase, done=tick.done, total=tick.total)

    def _tell(self, kind: EventKind, message: str = "", **about: Any) -> None:
        self.on_event(Event(kind=kind, model=self.model.key, message=message, **about))


def _summary(completion: Completion) -> str:
    tokens, speed = completion.completion_tokens, completion.decode_tps
    figures = [] if tokens is None else [f"{tokens} tokens"]
    figures += [] if speed is None else [f"{speed:.1f} tok/s"]
    behind = f" ({', '.join(figures)})" if figures else ""
    return f"Inference completed in {completion.infer_s:.1f}s{behind}"
