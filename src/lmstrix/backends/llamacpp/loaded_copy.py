"""One loaded copy of a model: prompts in, text out, over the engine's loopback HTTP."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from lmstrix.backends.llamacpp.failures import tells_want_of_memory
from lmstrix.backends.llamacpp.process import EngineProcess
from lmstrix.backends.llamacpp.wire import BrokenError, RefusedError, Stream, Wire
from lmstrix.errors import GenerationError, PromptTooLongError
from lmstrix.ports import Generation, OnTick, Prompt, Sampling, Tick
from lmstrix.values import Model, Outcome

DYING_S: Final = 5.0
"""Seconds that a crashing engine may take to be gone once its connection has broken."""


class LoadedCopy:
    """A model held by an engine process; implements `lmstrix.ports.Loaded`.

    Args:
        model: What it is a copy of.
        process: The engine, loaded and listening.
        wire: The way to it.
        has_chat_template: Whether the model file brings one.
        on_unload: Called once, when the copy is gone.
    """

    def __init__(
        self,
        model: Model,
        process: EngineProcess,
        *,
        wire: Wire,
        has_chat_template: bool,
        on_unload: Callable[["LoadedCopy"], None],
    ) -> None:
        self.identifier = f"{model.key}#{process.pid}"
        self.load_s = process.load_s
        self.has_chat_template = has_chat_template
        self._process = process
        self._on_unload = on_unload
        self._wire = wire
        self.context = int(self._ask("/slots")[0]["n_ctx"])

    @property
    def alive(self) -> bool:
        """Whether the engine still runs."""
        return self._process.alive

    def memory_bytes(self) -> int | None:
        """See `Loaded.memory_bytes`."""
        return self._process.memory_bytes()

    def count_tokens(self, prompt: Prompt) -> int:
        """See `Loaded.count_tokens`."""
        return len(self._tokenize(self._render(prompt)))

    def complete(
        self, prompt: Prompt, sampling: Sampling, *, stall_s: float, on_tick: OnTick | None = None
    ) -> Generation:
        """See `Loaded.complete`."""
        body = {"prompt": self._render(prompt), "stream": True, "return_progress": True}
        stream = Stream(self._wire, "/completion", body | _options(sampling))
        try:
            return self._gather(stream, stall_s, on_tick or _ignore)
        except TimeoutError as error:
            self.unload()  # an engine that hangs will not listen to a cancel either
            raise GenerationError(
                f"the engine was silent for {stall_s:.0f} s", outcome=Outcome.TIMED_OUT
            ) from error
        except RefusedError as error:
            raise refusal(error) from error
        except BrokenError as error:
            raise self._lost(error) from error
        finally:
            stream.close()

    def _gather(self, stream: Stream, stall_s: float, on_tick: OnTick) -> Generation:
        text: list[str] = []
        last = Tick(phase="prefill")

        def beat() -> None:
            self._process.guard()
            on_tick(last)

        for part in stream.parts(stall_s=stall_s, on_silence=beat):
            text.append(part.get("content", ""))
            tick = _tick(part)
            last = replace(tick, text="")
            self._process.guard()
            on_tick(tick)
            if part.get("stop"):
                return _generation("".join(text), part, self.context)
        raise BrokenError("no final word")

    def unload(self) -> None:
        """See `Loaded.unload`."""
        self._process.end()
        self._on_unload(self)

    def _render(self, prompt: Prompt) -> str:
        if not prompt.chat:
            return f"{prompt.system}\n\n{prompt.text}" if prompt.system else prompt.text
        messages = [{"role": "user", "content": prompt.text}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        return str(self._ask("/apply-template", {"messages": messages})["prompt"])

    def _tokenize(self, text: str) -> list[int]:
        body = {"content": text, "add_special": True, "parse_special": True}
        tokens: list[int] = self._ask("/tokenize", body)["tokens"]
        return tokens

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return self._wire.call(path, body)
        except RefusedError as error:
            raise refusal(error) from error
        except BrokenError as error:
            raise self._lost(error) from error

    def _lost(self, error: BrokenError) -> GenerationError:
        """Return what a broken connection means: most often, that the engine has died."""
        if self._process.ends_within(DYING_S):
            return self._process.failure(GenerationError, "the engine died")
        return GenerationError("the engine broke off", outcome=Outcome.UNKNOWN, detail=str(error))


def _ignore(_: Tick) -> None:
    pass


def _options(sampling: Sampling) -> dict[str, Any]:
    chosen = {
        "n_predict": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    return {name: value for name, value in chosen.items() if value is not None}


def _tick(part: dict[str, Any]) -> Tick:
    if progress := part.get("prompt_progress"):
        return Tick(phase="prefill", done=progress["processed"], total=progress["total"])
    return Tick(phase="decode", done=part.get("tokens_predicted"), text=part.get("content", ""))


def refusal(error: RefusedError) -> GenerationError | PromptTooLongError:
    """Return what it means that the engine refused a request."""
    told = error.told
    if told.get("type") == "exceed_context_size_error":
        return PromptTooLongError(prompt_tokens=told["n_prompt_tokens"], context=told["n_ctx"])
    # An allocation that fails while the engine answers ends the request, not the process.
    outcome = Outcome.OUT_OF_MEMORY if tells_want_of_memory(str(error)) else Outcome.UNKNOWN
    return GenerationError(f"the engine refused: {error}", outcome=outcome, detail=str(error))


def _generation(text: str, final: dict[str, Any], context: int) -> Generation:
    timings = final["timings"]
    prompt_tokens = int(final["tokens_evaluated"])
    cut = final["stop_type"] == "limit"
    full = final["truncated"] or prompt_tokens + final["tokens_predicted"] >= context
    return Generation(
        text=text,
        prompt_tokens=prompt_tokens,
        completion_tokens=int(final["tokens_predicted"]),
        stop_reason="stop" if not cut else "context" if full else "length",
        cached_tokens=int(timings["cache_n"]),
        ttft_s=timings["prompt_ms"] / 1000,
        prefill_tps=timings["prompt_per_second"] if timings["prompt_n"] > 1 else None,
        decode_tps=timings["predicted_per_second"] if timings["predicted_n"] > 1 else None,
    )
