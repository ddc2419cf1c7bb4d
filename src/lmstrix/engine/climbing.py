"""Reading a window stair by stair in one load, and asking at each.

What was seen at a stair is handed over at once, so that it outlives what happens at the next.

The window is filled if the runtime counts, at every stair, the tokens that were counted beforehand,
and the fact told in the last fiftieth of the last stair is found. If it is not, another one is
asked for that stands beside it: a model that misses both, and answered a short question in the same
load, fails for certain. Wrong answers further up decide nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from lmstrix.engine.filler import Document
from lmstrix.engine.questions import Fact, OwnQuestion, Question, answer_reserve
from lmstrix.engine.recall import MEASURABLE, keeps_up, recall_notes
from lmstrix.engine.staircase import (
    SLACK,
    SPREAD,
    TAIL,
    Landing,
    Style,
    Told,
    fitted_staircase,
)
from lmstrix.engine.verdicts import Verdict, graded, read_whole
from lmstrix.ports import Generation, Prompt
from lmstrix.values import Outcome, RecallScore, Stair

OnStairs = Callable[[Sequence[Stair]], None]


class Reader(Protocol):
    """A loaded model that is asked; whoever waits is told what it does."""

    def count_tokens(self, prompt: Prompt) -> int:
        """Return how many tokens the model sees for `prompt`."""
        ...

    def ask(self, question: Question, *, of: int | None = None) -> Generation:
        """Return the model's answer. `of` is what progress is told of, in tokens."""
        ...

    def memory_bytes(self) -> int | None:
        """Return the most memory the model has taken so far."""
        ...


@dataclass(frozen=True, kw_only=True)
class Window:
    """What is to be filled, and with what.

    Attributes:
        tokens: The whole of it, the answer included.
        seed: Decides on filler and facts.
        document: The kind of filler.
        question: The user's question, asked at every stair in place of a fact.
    """

    tokens: int
    seed: int
    document: Document = "prose"
    question: OwnQuestion | None = None


def fill(reader: Reader, window: Window, *, chat: bool, on_stairs: OnStairs) -> Verdict:
    """Fill `window`, asking at each stair about a fact in its last fiftieth."""
    style = Style(
        seed=window.seed,
        chat=chat,
        parts=TAIL,
        document=window.document,
        own=window.question,
    )
    return _Climb(reader, window, style, on_stairs).run()


def recall(reader: Reader, window: Window, *, chat: bool, on_stairs: OnStairs) -> Verdict:
    """Fill `window`, asking at each stair about eight facts that are spread over it.

    A stair that keeps less than 85 % of the first stair's score is asked again about the facts told
    beside, and the better score counts. The whole window is read, however bad the score. But where
    half of the facts are missed at the first stair, through the template (with `chat`) and raw,
    nothing more is read: recall cannot be measured, which says nothing about the window.
    """
    missed: list[str] = []
    depth = 0
    for form in (True, False) if chat else (False,):
        style = Style(seed=window.seed, chat=form, parts=SPREAD, document=window.document)
        climb = _Climb(reader, window, style, on_stairs)
        verdict = climb.run()
        if climb.measurable:
            noted = filter(None, [f"baseline: {climb.baseline}", recall_notes(climb.stairs)])
            return verdict._replace(detail="; ".join(noted)) if verdict.passed else verdict
        missed.append(climb.baseline)
        depth = climb.stairs[0].depth
    told = f"{', '.join(missed)}, at {depth:,} tokens"
    return Verdict(Outcome.UNKNOWN, f"recall cannot be measured: {told}")


class _Climb:
    """One way up a staircase, through the template or raw; the stairs seen so far."""

    def __init__(self, reader: Reader, window: Window, style: Style, on_stairs: OnStairs) -> None:
        self.stairs: list[Stair] = []
        self._reader = reader
        self._window = window
        self._style = style
        self._on_stairs = on_stairs
        self._tokens = 0
        self._speeds: list[float] = []  # of the answers at the last stair

    @property
    def measurable(self) -> bool:
        """Whether the first stair found enough facts to measure others by, if it looked."""
        baseline = self._baseline
        return baseline is None or baseline.found >= MEASURABLE

    @property
    def baseline(self) -> str:
        """What the first stair found and how it was asked, for a person."""
        form = "by chat" if self._style.chat else "raw"
        score = self._baseline
        return "" if score is None else f"{score.found} of {score.asked} facts found {form}"

    @property
    def _baseline(self) -> RecallScore | None:
        return self.stairs[0].recall if self.stairs else None

    def run(self) -> Verdict:
        """Climb as far as it makes sense; return what that proves."""
        style, reader = self._style, self._reader
        reserve = answer_reserve(chat=style.chat, own=style.own is not None)
        budget = self._window.tokens - reserve
        landings, self._tokens = fitted_staircase(reader.count_tokens, budget, style)
        if not budget - SLACK <= self._tokens <= budget:
            told = f"{budget:,} tokens to fill, the text has {self._tokens:,}"
            return Verdict(Outcome.UNKNOWN, told)
        *lower, top = landings
        for landing in lower:
            verdict = self._visit(landing)
            if verdict.outcome is Outcome.TRUNCATED:
                return verdict
            if (early := self._stopped()) is not None:
                return early
        verdict = self._visit(top, tokens=self._tokens)
        return verdict if lower else self._stopped() or verdict

    def _stopped(self) -> Verdict | None:
        """Return why nothing deeper than the first stair is worth reading, if that is so."""
        return None if self.measurable else Verdict(Outcome.UNKNOWN, self.baseline)

    def _visit(self, landing: Landing, *, tokens: int | None = None) -> Verdict:
        """Ask at `landing`; `tokens` is the exact length of the question at the top."""
        verdict = self._ask_round(landing, landing.facts, tokens)
        missed = tokens is not None and verdict.is_wrong and self._style.own is None
        if verdict.outcome is Outcome.TRUNCATED or not (missed or self._fails_recall):
            return verdict
        second = self._ask_round(landing, landing.others, None)
        if not missed:
            return verdict
        if not second.is_wrong:
            return second
        told = [one.detail or "no answer" for one in (verdict, second)]
        return Verdict(verdict.outcome, "; ".join(told), confirmed=True)

    @property
    def _fails_recall(self) -> bool:
        score, baseline = self.stairs[-1].recall, self._baseline
        return score is not None and baseline is not None and not keeps_up(score, baseline)

    def _ask_round(self, landing: Landing, told: Sequence[Told], tokens: int | None) -> Verdict:
        """Ask about each fact; return what the first, which is the last in the text, proves."""
        closing = self._style.question(landing, told[0].fact)
        counted = tokens or self._reader.count_tokens(closing.prompt)
        generation = self._reader.ask(closing, of=self._tokens)
        self._record(generation, counted, opens=told is landing.facts)
        verdict = read_whole(closing, generation, counted)
        if verdict.outcome is not Outcome.TRUNCATED and len(self._style.parts) > 1:
            found = [told[0].position] if graded(closing, generation).passed else []
            found += [one.position for one in told[1:] if self._finds(landing, one.fact, counted)]
            self._score(
                RecallScore(asked=len(told), found=len(found), positions=tuple(sorted(found)))
            )
        return verdict

    def _finds(self, landing: Landing, fact: Fact, counted: int) -> bool:
        question = self._style.question(landing, fact)
        generation = self._reader.ask(question, of=self._tokens)
        self._record(generation, counted, opens=False)
        return graded(question, generation).passed

    def _record(self, generation: Generation, counted: int, *, opens: bool) -> None:
        """Add an answer to its stair; the first one there opens it."""
        depth = generation.prompt_tokens or counted
        prefilled = depth - (generation.cached_tokens or 0)
        if opens:
            self.stairs.append(self._opened(generation, depth))
            self._speeds.clear()
        if generation.decode_tps is not None:
            self._speeds.append(generation.decode_tps)
        self._replace(
            prefilled=self.stairs[-1].prefilled + prefilled,
            memory_bytes=self._reader.memory_bytes(),
            decode_tps=median(self._speeds) if self._speeds else None,
        )

    def _opened(self, generation: Generation, depth: int) -> Stair:
        waited: list[float | None] = [generation.ttft_s]
        waited += [self.stairs[-1].ttft_s] if self.stairs else []
        known = [seconds for seconds in waited if seconds is not None]
        return Stair(
            depth=depth,
            prefilled=0,
            ttft_s=sum(known) if len(known) == len(waited) else None,
            prefill_tps=generation.prefill_tps,
        )

    def _score(self, score: RecallScore) -> None:
        """Keep the better score of the stair."""
        kept = self.stairs[-1].recall
        if kept is None or score.found > kept.found:
            self._replace(recall=score)

    def _replace(self, **seen: float | RecallScore | None) -> None:
        self.stairs[-1] = self.stairs[-1].model_copy(update=seen)
        self._on_stairs(tuple(self.stairs))
