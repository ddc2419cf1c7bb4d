"""One text, read down to one depth after the other, with facts told on the way. Pure and seeded.

Depths double: about a thousand tokens, two thousand, … up to the whole window. Each prompt is the
beginning of one text, then a question; so each begins with the whole text of the last, and a
runtime that keeps what it has read prefills every token of the window once.

Facts are told at parts of a depth, those of `SPREAD` or of `TAIL`. As depths double, most parts of
one are parts of the next: a seventh of a depth is four sevenths of its quarter. Beside each fact
stands another one, to ask for when the first is not found.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, NamedTuple

from lmstrix.engine.filler import Document, Filler
from lmstrix.engine.questions import Fact, OwnQuestion, Question, ask, facts
from lmstrix.ports import Prompt

SLACK: Final = 24
"""A window counts as filled when no more than this many tokens of its budget are left."""
TAIL: Final = (Fraction(1),)
"""Facts in the last fiftieth of each depth only."""
SPREAD: Final = tuple(Fraction(part, 7) for part in range(8))
"""Eight facts in each depth, the first and the last within a fiftieth of its ends."""

_LOWEST: Final = 750  # tokens; the first depth lies between this and twice as much
_BEHIND: Final = 0.01  # a fact that closes a depth has at most so much of it behind
_COUNTS: Final = 6
_SAMPLE: Final = 400  # words; enough for a slope within a few percent


class Told(NamedTuple):
    """A fact, and which part of the text down to a landing lies in front of its end."""

    fact: Fact
    position: float


@dataclass(frozen=True, kw_only=True)
class Landing:
    """One depth: the text down to there, and what can be asked about it, the last fact first.

    `others` stand beside the `facts`, in the same order.
    """

    text: str
    facts: Sequence[Told]
    others: Sequence[Told]


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a staircase is written, and what is asked on it.

    Attributes:
        chat: Whether questions go through the chat template.
        parts: Where in each depth facts are told; the last one is 1.
        document: The kind of text.
        own: The user's question, asked in place of each fact.
    """

    seed: int
    chat: bool
    parts: Sequence[Fraction] = TAIL
    document: Document = "prose"
    own: OwnQuestion | None = None

    def question(self, landing: Landing, about: Fact) -> Question:
        """Return the question about a fact, or the user's own, behind the text of `landing`."""
        return ask(landing.text, self.own or about, chat=self.chat)


def halvings(tokens: int) -> int:
    """Return how often `tokens` is halved on the way to the first depth."""
    return max(0, (tokens // _LOWEST).bit_length() - 1)


def staircase(filler: Filler, style: Style, *, words: int, levels: int) -> Sequence[Landing]:
    """Return the landings of a text of `words` words of filler, cut in half `levels` times."""
    depths = [Fraction(1, 1 << level) for level in range(levels, -1, -1)]
    text = _Text(filler, _spots(depths, style), filler.passages(words))
    whole = "".join(text.parts)
    return [_landing(text, whole, depth, style) for depth in depths]


def fitted_staircase(
    count_tokens: Callable[[Prompt], int], budget: int, style: Style
) -> tuple[Sequence[Landing], int]:
    """Return a staircase whose last question takes `budget` tokens or up to `SLACK` fewer.

    Also returns the exact tokens of that question. The length is found by counting: a short sample
    gives the tokens a word, then at most six counts of the whole correct it. A tokenizer so odd
    that six do not suffice gets the longest text that was seen to fit. Where not even the facts
    fit, they alone are returned, longer than `budget`.
    """
    filler, levels = Filler(style.seed, style.document), halvings(budget)

    def measured(words: int) -> tuple[Sequence[Landing], int]:
        landings = staircase(filler, style, words=words, levels=levels)
        last = style.question(landings[-1], landings[-1].facts[0].fact)
        return landings, count_tokens(last.prompt)

    best, bare = measured(0)
    if bare >= budget - SLACK:
        return best, bare
    low, high = (0, bare), None
    words, tokens = _SAMPLE, measured(_SAMPLE)[1]
    for _ in range(_COUNTS):
        words = _next_words(words, tokens, bare, budget - SLACK // 2, low=low, high=high)
        landings, tokens = measured(words)
        if tokens > budget:
            high = words, tokens
        elif tokens > low[1]:
            best, low = landings, (words, tokens)
        if budget - SLACK <= tokens <= budget:
            break
    return best, low[1]


def _next_words(  # noqa: PLR0913 - what is known of the length of a text
    words: int,
    tokens: int,
    bare: int,
    aim: int,
    *,
    low: tuple[int, int],
    high: tuple[int, int] | None,
) -> int:
    """Return how many words come nearest to `aim` tokens, after so many took so many tokens.

    Between a text that fits and one that does not, as far along as tokens are spread evenly.
    """
    if high is None or low[0] == 0:
        per_word = max((tokens - bare) / max(words, 1), 0.1)
        return max(1, words + round((aim - tokens) / per_word))
    part = (aim - low[1]) / max(high[1] - low[1], 1)
    return min(max(low[0] + round(part * (high[0] - low[0])), low[0] + 1), high[0] - 1)


@dataclass(frozen=True, kw_only=True)
class _Spot:
    """A part of the whole text, and the two facts to tell there; `closes` if a depth ends there."""

    at: Fraction
    fact: Fact
    other: Fact
    closes: bool


_End = tuple[Fact, int]  # a fact, and the characters in front of its end


class _Text:
    """A text written from passages and facts: where its parts end, and where the facts stand."""

    def __init__(self, filler: Filler, spots: Sequence[_Spot], passages: Sequence[str]) -> None:
        self.parts: list[str] = []
        self.ends: list[int] = []
        self.told: dict[Fraction, tuple[_End, _End]] = {}
        self._remark = filler.remark
        self._whole = sum(map(len, passages)) + sum(map(self._length, spots))
        waiting = deque(sorted(spots, key=self._due))
        for passage in passages:
            while waiting and self.length >= self._due(waiting[0]):
                self._tell(waiting.popleft())
            self._add(passage)
        for spot in waiting:
            self._tell(spot)

    @property
    def length(self) -> int:
        """Characters written so far."""
        return self.ends[-1] if self.ends else 0

    def _length(self, spot: _Spot) -> int:
        return len(self._remark(spot.fact.told)) + len(self._remark(spot.other.told))

    def _due(self, spot: _Spot) -> float:
        """Return how many characters are written before the facts of `spot` are told."""
        if not spot.closes:
            return float(spot.at) * self._whole
        return float(spot.at) * self._whole * (1 - _BEHIND) - self._length(spot)

    def _add(self, passage: str) -> int:
        self.parts.append(passage)
        self.ends.append(self.length + len(passage))
        return self.length

    def _tell(self, spot: _Spot) -> None:
        """Tell two facts, the one to ask for first nearer to the end that it is close to."""
        ends = {}
        pair = spot.fact, spot.other
        for fact in reversed(pair) if spot.closes else pair:
            ends[fact] = self._add(self._remark(fact.told))
        self.told[spot.at] = (spot.fact, ends[spot.fact]), (spot.other, ends[spot.other])


def _spots(depths: Sequence[Fraction], style: Style) -> Sequence[_Spot]:
    told = facts(style.seed)
    parts = sorted({part * depth for depth in depths for part in style.parts})
    return [
        _Spot(at=part, fact=next(told), other=next(told), closes=part in depths) for part in parts
    ]


def _landing(text: _Text, whole: str, depth: Fraction, style: Style) -> Landing:
    pairs = [text.told[part * depth] for part in reversed(style.parts)]
    passage_end = text.ends[bisect_right(text.ends, depth * text.length) - 1]
    end = max(passage_end, *(end for _, end in pairs[0]))
    facts, others = (
        [Told(fact, place / end) for fact, place in row] for row in zip(*pairs, strict=True)
    )
    return Landing(text=whole[:end], facts=facts, others=others)
