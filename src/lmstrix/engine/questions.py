"""What a probe asks, and whether the answer is right. Pure and seeded.

A probe tells the model a fact, *the access code of the lighthouse is 4821973*, and asks for it. The
`answer` proof tells it in a few sentences. The `fill` proof pushes a whole window of prose through
the model first and tells the fact in its last fiftieth: it proves that every token was prefilled
and that the model still makes sense behind them, and not that it can find what it read long ago.
Finding facts at every depth is another proof, `recall`.

Chat models are asked through their template; base models, which answer nonsense through one, are
given the beginning of the answer to go on with.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lmstrix.engine.filler import Filler
from lmstrix.ports import Prompt

CHAT_TOKENS: Final = 32
RAW_TOKENS: Final = 16
"""Tokens of an answer at most: a chat model may wrap the code in words, a raw one does not."""
SLACK: Final = 24
"""A window counts as filled when no more than this many tokens of its budget are left."""

_SUBJECTS: Final = """
    airport aquarium archive armoury bakery brewery bunker chapel dockyard embassy fortress foundry
    greenhouse harbour laboratory lighthouse observatory orphanage palace pharmacy prison refinery
    sawmill shipyard stadium sanatorium synagogue tavern treasury windmill
""".split()  # noqa: SIM905 - as a list it would take thirty lines
_TAIL: Final = 60  # the fact is told in the last 1/60 of the filler, and so within its last 2 %
_COUNTS: Final = 6
_SHORT: Final = 50  # words
_SAMPLE: Final = 400  # words; enough for a slope within a percent or two

_THOUGHT: Final = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL)
_NUMBER: Final = re.compile(r"\d{1,3}(?:[,\s'\u2019_]\d{3})+(?!\d)|\d+(?:[.,]\d+)*")
_SEPARATOR: Final = re.compile(r"[,\s'\u2019_]")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """Something the model can only know because it was told."""

    subject: str
    code: str

    @property
    def told(self) -> str:
        """The sentence that tells it."""
        return f"The access code of the {self.subject} is {self.code}."

    def is_in(self, answer: str) -> bool:
        """Return whether the first number in `answer` is the code, digit by digit.

        Thoughts in `<think>` tags are passed over, and separators of thousands are taken out. The
        code inside a longer number, or behind another one, does not count.
        """
        number = _NUMBER.search(_THOUGHT.sub("", answer))
        return number is not None and _SEPARATOR.sub("", number[0]) == self.code


@dataclass(frozen=True, kw_only=True)
class Question:
    """A fact told in some prose, then asked for."""

    fact: Fact
    prompt: Prompt


@dataclass(frozen=True, kw_only=True)
class OwnQuestion:
    """A question of the user's, and what its answer must contain."""

    text: str
    expect: str


def answer_tokens(*, chat: bool) -> int:
    """Return how many tokens an answer may take, through a chat template or raw."""
    return CHAT_TOKENS if chat else RAW_TOKENS


def answer_reserve(*, chat: bool) -> int:
    """Return the tokens to leave for an answer: twice its length, as runtimes like some room."""
    return 2 * answer_tokens(chat=chat)


def short_question(seed: int, *, chat: bool) -> Question:
    """Return a question with a few sentences of prose."""
    *prose, _ = Filler(seed).sentences(_SHORT)  # the last one may be cut
    return _question(prose, seed=seed, chat=chat)


def fitted_question(
    count_tokens: Callable[[Prompt], int], budget: int, *, seed: int, chat: bool
) -> tuple[Question, int]:
    """Return a question that takes `budget` tokens or up to `SLACK` fewer, and its exact tokens.

    The length is found by counting: a short sample gives the tokens a word, then at most six counts
    of the whole correct it. A tokenizer so odd that six do not suffice gets the longest prompt that
    was seen to fit. Where not even the bare question fits, that is returned, longer than `budget`.
    """
    filler = Filler(seed)

    def measured(words: int) -> tuple[Question, int]:
        question = _question(filler.sentences(words), seed=seed, chat=chat)
        return question, count_tokens(question.prompt)

    best, bare = measured(0)
    if bare >= budget - SLACK:
        return best, bare
    per_word = max((measured(_SAMPLE)[1] - bare) / _SAMPLE, 0.1)
    words, tokens = 0, bare
    for _ in range(_COUNTS):
        words = max(0, words + round((budget - SLACK / 2 - tokens) / per_word))
        question, tokens = measured(words)
        if budget - SLACK <= tokens <= budget:
            return question, tokens
        if bare < tokens < budget:
            best, bare = question, tokens
    return best, bare


def _question(prose: Sequence[str], *, seed: int, chat: bool) -> Question:
    fact = _fact(seed)
    place = len(prose) - len(prose) // _TAIL
    text = " ".join([*prose[:place], fact.told, *prose[place:]])
    ask = f"What is the access code of the {fact.subject}?"
    if chat:
        ending = f"{ask} Answer with the code alone."
    else:
        ending = f"Question: {ask}\nAnswer: The access code of the {fact.subject} is"
    return Question(fact=fact, prompt=Prompt(text=f"{text}\n\n{ending}", chat=chat))


def _fact(seed: int) -> Fact:
    chance = random.Random(f"fact {seed}")  # noqa: S311 - repeatable on purpose, and no secret
    return Fact(subject=chance.choice(_SUBJECTS), code=str(chance.randrange(1_000_000, 10_000_000)))
