"""What an answer proves. Pure."""

from typing import NamedTuple

from lmstrix.engine.questions import Question
from lmstrix.ports import Generation
from lmstrix.values import Outcome


class Verdict(NamedTuple):
    """An outcome and why; `confirmed` if the failure was seen twice in one load."""

    outcome: Outcome
    detail: str | None = None
    confirmed: bool = False

    @property
    def passed(self) -> bool:
        """Whether what was to be proved is proved."""
        return self.outcome is Outcome.PASSED

    @property
    def is_wrong(self) -> bool:
        """Whether there was no answer, or a wrong one."""
        return self.outcome in {Outcome.NO_ANSWER, Outcome.WRONG_ANSWER}


def graded(question: Question, generation: Generation) -> Verdict:
    """Return whether the answer is right."""
    if not generation.text.strip():
        return Verdict(Outcome.NO_ANSWER)
    if question.about.is_in(generation.text):
        return Verdict(Outcome.PASSED)
    said = generation.text.strip()[:80]
    return Verdict(Outcome.WRONG_ANSWER, f"asked for {question.about.wanted}, answered: {said}")


def read_whole(question: Question, generation: Generation, tokens: int) -> Verdict:
    """Return whether all `tokens` of the prompt were read, and the answer is right.

    Fewer read than were counted beforehand: it was truncated, whatever the answer. More, or no
    count of the runtime's own: a cut cannot be excluded.
    """
    seen = generation.prompt_tokens
    if seen is not None and seen < tokens:
        return Verdict(Outcome.TRUNCATED, f"{tokens:,} tokens sent, {seen:,} read")
    verdict = graded(question, generation)
    if verdict.passed and seen != tokens:
        told = "no count" if seen is None else f"{seen:,} read"
        return Verdict(Outcome.UNKNOWN, f"{tokens:,} tokens sent, {told}: a cut cannot be excluded")
    return verdict
