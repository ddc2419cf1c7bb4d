"""Answer a prompt: plan the load, load or reuse, complete."""

from dataclasses import dataclass

from lmstrix.engine.events import OnEvent, ignore
from lmstrix.ports import Backend, Clock, LoadRequest, Prompt, Sampling, Tick
from lmstrix.values import Completion, Event, LoadConfig, Model


@dataclass(frozen=True, kw_only=True)
class InferRequest:
    """What to answer, and how.

    Attributes:
        prompt: What to answer or continue.
        system: The system prompt, for models with a chat template.
        in_ctx: Context to load, in tokens; 0 leaves it to the runtime; None chooses.
        out_ctx: Most tokens to generate: a number, or `25%` of the effective context.
        raw: Whether the prompt bypasses the chat template; None: only if there is none.
        force_reload: Load a new copy even if a loaded one would do.
        budget_bytes: Most memory that the loaded model may take.
        timeout_s: Longest a load, or a silence while generating, may last.
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


def run_infer(
    model: Model,
    request: InferRequest,
    *,
    backend: Backend,
    clock: Clock,
    on_event: OnEvent = ignore,
) -> Completion:
    """Answer `request` with `model`."""
    load = LoadRequest(
        context=request.in_ctx if request.in_ctx is not None else 4_096,
        config=LoadConfig(),
        budget_bytes=request.budget_bytes,
        timeout_s=request.timeout_s,
    )
    on_event(
        Event(
            kind="loading",
            model=model.key,
            context=load.context,
            message=f"Loading {model.key} at context {load.context}... (chosen)",
        )
    )
    copy = backend.load(model, load)
    on_event(Event(kind="loaded", model=model.key, context=copy.context))
    prompt = Prompt(text=request.prompt, system=request.system, chat=copy.has_chat_template)

    def told(tick: Tick) -> None:
        if tick.text:
            on_event(Event(kind="text", model=model.key, text=tick.text))

    most = request.out_ctx if isinstance(request.out_ctx, int) else 256
    began = clock.seconds()
    done = copy.complete(prompt, Sampling(max_tokens=most), stall_s=request.timeout_s, on_tick=told)
    completion = Completion(
        text=done.text,
        model=model.key,
        requested_context=load.context,
        effective_context=copy.context,
        reused=False,
        prompt_tokens=done.prompt_tokens,
        completion_tokens=done.completion_tokens,
        stop_reason=done.stop_reason,
        truncated=done.stop_reason != "stop",
        load_s=copy.load_s,
        infer_s=clock.seconds() - began,
        ttft_s=done.ttft_s,
        decode_tps=done.decode_tps,
    )
    on_event(Event(kind="finished", model=model.key, message="Inference completed"))
    return completion
