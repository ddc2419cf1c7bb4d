"""What a probe asks, and whether the answer is right. Pure and seeded.

A probe tells the model a fact, *the access code of the lighthouse is 4821973*, and asks for it. The
`answer` proof tells it in a few lines; where whole windows are read, `staircase` says what is told
where.

Chat models are asked through their template; base models, which answer nonsense through one, are
given the beginning of the answer to go on with.
"""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from lmstrix.engine.filler import Document, Filler
from lmstrix.ports import Prompt

CHAT_TOKENS: Final = 32
RAW_TOKENS: Final = 16
OWN_TOKENS: Final = 128
"""Tokens of an answer at most: a chat model may wrap the code in words, a raw one does not; what a
user asks may take more words."""

_SUBJECTS: Final = """
    abattoir abbey academy airport almshouse aquarium archive arena armoury arsenal asylum bakery
    barracks basilica bathhouse boathouse brewery bunker cannery casino chancery chapel clinic
    college colosseum consulate convent creamery crematorium crypt depot dispensary distillery
    dockyard dormitory embassy exchange fairground fortress foundry gallery garage gasworks
    gatehouse granary greenhouse guesthouse gymnasium hangar harbour hermitage heliport hospice
    hostel icehouse infirmary jail kennel kindergarten laboratory laundry library lighthouse lodge
    lyceum mansion marina mausoleum ministry mint monument mortuary mosque motel nunnery nursery
    observatory opera orangery orphanage pagoda palace parliament pavilion penitentiary pharmacy
    planetarium playground powerhouse priory prison pumphouse quarantine racecourse refectory
    refinery reservoir sanatorium sawmill seminary shipyard shrine silo slaughterhouse smithy
    smokehouse spa stadium stockade studio supermarket synagogue tannery tavern tollbooth treasury
    university vault velodrome waterworks winery windmill zoo
""".split()  # noqa: SIM905 - as a list it would take a hundred lines
_SHORT: Final = 45  # words
_KINDS: Final[Sequence[Document]] = ("prose", "technical", "prose")

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

    @property
    def wanted(self) -> str:
        """What the answer must be."""
        return self.code

    def asked(self, *, chat: bool) -> str:
        """Return the words that ask for it."""
        question = f"What is the access code of the {self.subject}?"
        if chat:
            return f"{question} Answer with the code alone."
        return f"Question: {question}\nAnswer: The access code of the {self.subject} is"

    def is_in(self, answer: str) -> bool:
        """Return whether the first number in `answer` is the code, digit by digit.

        Thoughts in `<think>` tags are passed over, and separators of thousands are taken out. The
        code inside a longer number, or behind another one, does not count.
        """
        number = _NUMBER.search(_THOUGHT.sub("", answer))
        return number is not None and _SEPARATOR.sub("", number[0]) == self.code


@dataclass(frozen=True, kw_only=True)
class OwnQuestion:
    """A question of the user's, and what its answer must contain."""

    text: str
    expect: str

    @property
    def wanted(self) -> str:
        """What the answer must contain."""
        return self.expect

    def asked(self, *, chat: bool) -> str:  # noqa: ARG002 - the user's words are never changed
        """Return the user's words."""
        return self.text

    def is_in(self, answer: str) -> bool:
        """Return whether `expect` stands in `answer` by itself, whatever its case.

        Thoughts in `<think>` tags are passed over. Part of a longer word or number does not count:
        4 is not in 42, 4.5 or -4.
        """
        words = r"\s+".join(map(re.escape, self.expect.split()))
        before, behind = r"(?<![^\W_])(?<!\d[.,])", r"(?![^\W_]|[.,]\d)"
        if self.expect.strip()[:1].isdigit():
            before += r"(?<![-\u2212])"
        said = _THOUGHT.sub("", answer)
        return re.search(f"{before}{words}{behind}", said, re.IGNORECASE) is not None


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, and what its answer must be."""

    prompt: Prompt
    about: Fact | OwnQuestion

    @property
    def answer_tokens(self) -> int:
        """How many tokens its answer may take."""
        return answer_tokens(chat=self.prompt.chat, own=isinstance(self.about, OwnQuestion))


def answer_tokens(*, chat: bool, own: bool = False) -> int:
    """Return how many tokens an answer may take: to a fact by chat or raw, or to the user's own."""
    if own:
        return OWN_TOKENS
    return CHAT_TOKENS if chat else RAW_TOKENS


def answer_reserve(*, chat: bool, own: bool = False) -> int:
    """Return the tokens to leave for an answer: twice its length, as runtimes like some room."""
    return 2 * answer_tokens(chat=chat, own=own)


def ask(text: str, about: Fact | OwnQuestion, *, chat: bool) -> Question:
    """Return the question about `about`, behind `text` if there is any."""
    asked = about.asked(chat=chat)
    whole = f"{text.rstrip()}\n\n{asked}" if text else asked
    return Question(prompt=Prompt(text=whole, chat=chat), about=about)


def short_questions(seed: int, *, chat: bool) -> Iterator[Question]:
    """Yield three questions behind a few lines: in prose, in a manual, and with two facts told.

    Of the two facts the first one is asked for, so that to repeat the last number is not enough.
    """
    told = facts(seed)
    for number, document in enumerate(_KINDS):
        filler = Filler(seed + number, document)
        *front, behind, _ = filler.passages(_SHORT)  # the last one may be cut
        fact = next(told)
        others = [filler.remark(next(told).told)] if number == 2 else []
        text = "".join([*front, filler.remark(fact.told), behind, *others])
        yield ask(text, fact, chat=chat)


def facts(seed: int) -> Iterator[Fact]:
    """Yield facts, each about something else: some two hundred and fifty."""
    chance = random.Random(f"facts {seed}")  # noqa: S311 - repeatable on purpose, and no secret
    subjects = chance.sample(_SUBJECTS, len(_SUBJECTS))
    for subject in chain(subjects, (f"old {subject}" for subject in subjects)):
        yield Fact(subject=subject, code=str(chance.randrange(1_000_000, 10_000_000)))
