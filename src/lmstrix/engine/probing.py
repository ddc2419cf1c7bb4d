"""One probe: load at a context, read the effective one back, ask, unload.

A failure is what a probe is for, so it is a value here: every error of the runtime becomes an
outcome. What the caller raises from `on_event` is none: it propagates, once the copy is unloaded.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from lmstrix.engine.events import OnEvent
from lmstrix.engine.questions import (
    SLACK,
    Question,
    answer_reserve,
    answer_tokens,
    fitted_question,
    short_question,
)
from lmstrix.errors import (
    BackendUnavailableError,
    GenerationError,
    ModelLoadError,
    PromptTooLongError,
)
from lmstrix.ports import (
    Backend,
    Clock,
    Generation,
    Loaded,
    LoadRequest,
    Phase,
    Prompt,
    Sampling,
    Tick,
)
from lmstrix.values import Event, LoadConfig, Model, Outcome, Probe, Proof

ROUNDING: Final = 256
"""llama.cpp rounds a context up to a multiple of this; so much more than asked is no resizing."""

_KINDS: Final[dict[Phase, Literal["loading", "prefill", "decode"]]] = {
    "load": "loading",
    "prefill": "prefill",
    "decode": "decode",
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the probes of one test have in common. The budget is in bytes, times in seconds."""

    model: Model
    config: LoadConfig
    budget_bytes: int | None
    timeout_s: float
    stall_s: float


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A probe that has ended, and the error by which the runtime was lost, if it was."""

    probe: Probe
    lost: BackendUnavailableError | None = None


class _Verdict(NamedTuple):
    outcome: Outcome
    detail: str | None = None


def run_probe(
    probe: Probe, trial: Trial, *, backend: Backend, clock: Clock, on_event: OnEvent
) -> Tried:
    """Make `probe`, which is open, and return it with its end.

    A `fill` first asks a short question, which also shows whether the model is better asked through
    its template or raw. Its window counts as filled only if the runtime reports exactly the tokens
    that were counted beforehand: fewer were truncated; of more, or of no report, nothing can be
    said (`unknown`). Whatever is loaded here is unloaded here.
    """
    attempt = _Attempt(probe, trial, backend, on_event)
    lost = None
    try:
        verdict = attempt.run()
    except (ModelLoadError, GenerationError) as error:
        verdict = _Verdict(Outcome(error.outcome), error.detail or str(error))
    except PromptTooLongError as error:
        verdict = attempt.too_long(error)
    except BackendUnavailableError as error:
        verdict, lost = _Verdict(Outcome.UNAVAILABLE, str(error)), error
    end = {"outcome": verdict.outcome, "detail": verdict.detail, "ended_at": clock.now()}
    return Tried(probe=Probe.model_validate({**dict(probe), **attempt.found, **end}), lost=lost)


class _Attempt:
    """A probe under way. What was read so far is in `found`, and outlives a failure."""

    def __init__(self, probe: Probe, trial: Trial, backend: Backend, on_event: OnEvent) -> None:
        self.found: dict[str, float | None] = {}
        self._probe = probe
        self._trial = trial
        self._backend = backend
        self._on_event = on_event
        self._seed = probe.id or 0

    def run(self) -> _Verdict:
        trial = self._trial
        request = LoadRequest(
            context=self._probe.requested,
            config=trial.config,
            budget_bytes=trial.budget_bytes,
            timeout_s=trial.timeout_s,
        )
        copy = self._backend.load(trial.model, request, on_tick=self._relay)
        try:
            return self._examine(copy)
        finally:
            copy.unload()

    def too_long(self, error: PromptTooLongError) -> _Verdict:
        """Return what it means that the runtime refused a prompt which should have fitted."""
        said = self.found["effective"]
        if said is not None and error.context < said:
            return _Verdict(Outcome.TRUNCATED, f"{said:,} tokens loaded; {error}")
        return _Verdict(Outcome.UNKNOWN, str(error))

    def _examine(self, copy: Loaded) -> _Verdict:
        requested = self._probe.requested
        self.found.update(
            effective=copy.context, load_s=copy.load_s, memory_bytes=copy.memory_bytes()
        )
        self._tell("loaded", f"loaded at {copy.context:,} tokens")
        if not requested <= copy.context < requested + ROUNDING:
            return _Verdict(Outcome.RESIZED, f"loaded at {copy.context:,} tokens")
        if self._probe.proof is Proof.LOAD:
            return _Verdict(Outcome.PASSED)
        return self._question(copy)

    def _question(self, copy: Loaded) -> _Verdict:
        question, generation, verdict = self._ask_briefly(copy)
        if self._probe.proof is Proof.ANSWER or verdict.outcome is not Outcome.PASSED:
            self._keep(copy, generation)
            return verdict
        return self._fill(copy, chat=question.prompt.chat)

    def _ask_briefly(self, copy: Loaded) -> tuple[Question, Generation, _Verdict]:
        asked = []
        for chat in (True, False) if copy.has_chat_template else (False,):
            question = short_question(self._seed, chat=chat)
            generation = self._ask(copy, question)
            asked.append((question, generation, _graded(question, generation)))
            if asked[-1][2].outcome is Outcome.PASSED:
                break
        return asked[-1]

    def _fill(self, copy: Loaded, *, chat: bool) -> _Verdict:
        # Rounding may load more than the model declares; filling that would ask too much of it.
        window = min(copy.context, self._trial.model.declared_context or copy.context)
        budget = window - answer_reserve(chat=chat)

        def count_tokens(prompt: Prompt) -> int:
            self._tell("prefill", f"writing {budget:,} tokens of text")
            return copy.count_tokens(prompt)

        question, tokens = fitted_question(count_tokens, budget, seed=self._seed, chat=chat)
        if not budget - SLACK <= tokens <= budget:
            return _Verdict(Outcome.UNKNOWN, f"{budget:,} tokens to fill, the text has {tokens:,}")
        generation = self._ask(copy, question)
        self._keep(copy, generation)
        return _filled(question, generation, tokens)

    def _ask(self, copy: Loaded, question: Question) -> Generation:
        most = answer_tokens(chat=question.prompt.chat)
        return copy.complete(
            question.prompt,
            Sampling(max_tokens=most, temperature=0.0, seed=0),
            stall_s=self._trial.stall_s,
            on_tick=self._relay,
        )

    def _keep(self, copy: Loaded, generation: Generation) -> None:
        self.found.update(
            prompt_tokens=generation.prompt_tokens,
            ttft_s=generation.ttft_s,
            prefill_tps=generation.prefill_tps,
            decode_tps=generation.decode_tps,
            memory_bytes=copy.memory_bytes(),
        )

    def _relay(self, tick: Tick) -> None:
        self._tell(_KINDS[tick.phase], _message(tick), tick.done, tick.total)

    def _tell(
        self,
        kind: Literal["loading", "loaded", "prefill", "decode"],
        message: str,
        done: float | None = None,
        total: float | None = None,
    ) -> None:
        self._on_event(
            Event(
                kind=kind,
                model=self._trial.model.key,
                context=self._probe.requested,
                done=done,
                total=total,
                message=message,
            )
        )


def _graded(question: Question, generation: Generation) -> _Verdict:
    if not generation.text.strip():
        return _Verdict(Outcome.NO_ANSWER)
    if question.fact.is_in(generation.text):
        return _Verdict(Outcome.PASSED)
    said = generation.text.strip()[:80]
    return _Verdict(Outcome.WRONG_ANSWER, f"asked for {question.fact.code}, answered: {said}")


def _filled(question: Question, generation: Generation, tokens: int) -> _Verdict:
    seen = generation.prompt_tokens
    if seen is not None and seen < tokens:
        return _Verdict(Outcome.TRUNCATED, f"{tokens:,} tokens sent, {seen:,} read")
    verdict = _graded(question, generation)
    if verdict.outcome is Outcome.PASSED and seen != tokens:
        told = "no count" if seen is None else f"{seen:,} read"
        return _Verdict(
            Outcome.UNKNOWN, f"{tokens:,} tokens sent, {told}: a cut cannot be excluded"
        )
    return verdict


def _message(tick: Tick) -> str:
    match tick.phase:
        case "load":
            return "loading"
        case "decode":
            return "answering"
        case "prefill" if tick.done is None or tick.total is None:
            return "reading"
        case "prefill":
            return f"read {tick.done:,.0f} of {tick.total:,.0f} tokens"
