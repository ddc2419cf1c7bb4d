"""One probe: load at a context, read the effective one back, ask, unload.

A failure is what a probe is for, so it is a value here: every error of the runtime becomes an
outcome. What the caller raises from `on_event` is none: it propagates, once the copy is unloaded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from lmstrix.engine.climbing import Window, fill, recall
from lmstrix.engine.events import OnEvent
from lmstrix.engine.filler import Document
from lmstrix.engine.questions import OwnQuestion, Question, ask, short_questions
from lmstrix.engine.strategies.space import GRAIN
from lmstrix.engine.verdicts import Verdict, graded
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
from lmstrix.values import Event, LoadConfig, Model, Outcome, Probe, Proof, Stair

_KINDS: Final[dict[Phase, Literal["loading", "prefill", "decode"]]] = {
    "load": "loading",
    "prefill": "prefill",
    "decode": "decode",
}


def unwatched() -> str | None:
    """Return None: nobody watches the machine."""
    return None


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What the probes of one test have in common. The budget is in bytes, times in seconds.

    Attributes:
        document: What windows are filled with.
        question: What the user wants asked instead of our own questions, except for recall.
        watch: Asked at every sign of life; words that it returns say what the machine suffers
            from, and the probe is stopped.
    """

    model: Model
    config: LoadConfig
    budget_bytes: int | None
    timeout_s: float
    stall_s: float
    document: Document = "prose"
    question: OwnQuestion | None = None
    watch: Callable[[], str | None] = unwatched


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A probe that has ended, and the error by which the runtime was lost, if it was."""

    probe: Probe
    lost: BackendUnavailableError | None = None


class _SufferingError(Exception):
    """The machine suffers, and the probe must end now; the message says from what."""


def run_probe(
    probe: Probe, trial: Trial, *, backend: Backend, clock: Clock, on_event: OnEvent
) -> Tried:
    """Make `probe`, which is open, and return it with its end.

    An answer is proved by two of three short questions. A `fill` and a `recall` ask them first,
    which also shows whether the model is better asked through its template or raw; then they read
    the window stair by stair, as `climbing` says. Whatever is loaded here is unloaded here.
    """
    attempt = _Attempt(probe, trial, backend, on_event)
    lost = None
    try:
        verdict = attempt.run()
    except (ModelLoadError, GenerationError) as error:
        verdict = Verdict(Outcome(error.outcome), error.detail or str(error))
    except PromptTooLongError as error:
        verdict = attempt.too_long(error)
    except BackendUnavailableError as error:
        verdict, lost = Verdict(Outcome.UNAVAILABLE, str(error)), error
    except _SufferingError as error:
        verdict = Verdict(Outcome.OUT_OF_MEMORY, f"stopped by LMStrix: {error}")
    end = {**verdict._asdict(), "ended_at": clock.now()}
    return Tried(probe=Probe.model_validate({**dict(probe), **attempt.found, **end}), lost=lost)


class _Attempt:
    """A probe under way. What was read so far is in `found`, and outlives a failure."""

    def __init__(self, probe: Probe, trial: Trial, backend: Backend, on_event: OnEvent) -> None:
        self.found: dict[str, Any] = {}
        self._probe = probe
        self._trial = trial
        self._backend = backend
        self._on_event = on_event
        self._seed = probe.id or 0

    def run(self) -> Verdict:
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

    def too_long(self, error: PromptTooLongError) -> Verdict:
        """Return what it means that the runtime refused a prompt which should have fitted."""
        said = self.found["effective"]
        if error.context < said:
            return Verdict(Outcome.TRUNCATED, f"{said:,} tokens loaded; {error}")
        return Verdict(Outcome.UNKNOWN, str(error))

    def _examine(self, copy: Loaded) -> Verdict:
        requested = self._probe.requested
        self.found.update(
            effective=copy.context, load_s=copy.load_s, memory_bytes=copy.memory_bytes()
        )
        self._tell("loaded", f"loaded at {copy.context:,} tokens")
        if not requested <= copy.context < requested + GRAIN:
            return Verdict(Outcome.RESIZED, f"loaded at {copy.context:,} tokens")
        if self._probe.proof is Proof.LOAD:
            return Verdict(Outcome.PASSED)
        return self._question(copy)

    def _question(self, copy: Loaded) -> Verdict:
        chat, verdict = self._ask_briefly(copy)
        if self._probe.proof is Proof.ANSWER or not verdict.passed:
            return verdict
        # Rounding may load more than the model declares; filling that would ask too much of it.
        window = Window(
            tokens=min(copy.context, self._trial.model.declared_context or copy.context),
            seed=self._seed,
            document=self._trial.document,
            question=self._own,
        )
        climb = recall if self._probe.proof is Proof.RECALL else fill
        return climb(_Reader(copy, self), window, chat=chat, on_stairs=self._keep_stairs)

    @property
    def _own(self) -> OwnQuestion | None:
        return None if self._probe.proof is Proof.RECALL else self._trial.question

    def _ask_briefly(self, copy: Loaded) -> tuple[bool, Verdict]:
        """Return whether to ask through the template, and whether short questions are answered."""
        if self._own is not None:
            chat = copy.has_chat_template
            return chat, self._majority(copy, iter([ask("", self._own, chat=chat)]), needed=1)
        if copy.has_chat_template:
            verdict = self._majority(copy, short_questions(self._seed, chat=True))
            if verdict.passed:
                return True, verdict
        return False, self._majority(copy, short_questions(self._seed, chat=False))

    def _majority(self, copy: Loaded, questions: Iterator[Question], *, needed: int = 2) -> Verdict:
        """Ask until so many answers are right, or so many wrong."""
        tally = {True: 0, False: 0}
        while True:
            question = next(questions)
            generation = self.ask(copy, question)
            self._keep(copy, generation)
            verdict = graded(question, generation)
            tally[verdict.passed] += 1
            if tally[verdict.passed] == needed:
                return verdict

    def ask(self, copy: Loaded, question: Question, *, of: int | None = None) -> Generation:
        """Return the answer of `copy`; progress in reading is told as a part of `of` tokens."""

        def relay(tick: Tick) -> None:
            reads = of is not None and tick.phase == "prefill" and tick.done is not None
            self._relay(replace(tick, total=of) if reads else tick)

        return copy.complete(
            question.prompt,
            Sampling(max_tokens=question.answer_tokens, temperature=0.0, seed=0),
            stall_s=self._trial.stall_s,
            on_tick=relay,
        )

    def count(self, copy: Loaded, prompt: Prompt) -> int:
        """Return the tokens of `prompt`."""
        self._tell("prefill", "writing the text")
        return copy.count_tokens(prompt)

    def _keep(self, copy: Loaded, generation: Generation) -> None:
        self.found.update(
            prompt_tokens=generation.prompt_tokens,
            ttft_s=generation.ttft_s,
            prefill_tps=generation.prefill_tps,
            decode_tps=generation.decode_tps,
            memory_bytes=copy.memory_bytes(),
        )

    def _keep_stairs(self, stairs: Sequence[Stair]) -> None:
        last = stairs[-1]
        self.found.update(
            stairs=tuple(stairs),
            recall=last.recall,
            prompt_tokens=last.depth,
            ttft_s=last.ttft_s,
            prefill_tps=last.depth / last.ttft_s if last.ttft_s else None,
            decode_tps=last.decode_tps,
            memory_bytes=last.memory_bytes,
        )

    def _relay(self, tick: Tick) -> None:
        if trouble := self._trial.watch():
            raise _SufferingError(trouble)
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


class _Reader:
    """The copy under probe, as `climbing` sees it."""

    def __init__(self, copy: Loaded, attempt: _Attempt) -> None:
        self._copy = copy
        self._attempt = attempt
        self.memory_bytes = copy.memory_bytes

    def count_tokens(self, prompt: Prompt) -> int:
        """Return the tokens of `prompt`."""
        return self._attempt.count(self._copy, prompt)

    def ask(self, question: Question, *, of: int | None = None) -> Generation:
        """Return the answer to `question`."""
        return self._attempt.ask(self._copy, question, of=of)


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
