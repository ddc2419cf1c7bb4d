"""Endless text: prose, source code, or the manual of a machine.

It must look like the real thing to a tokenizer and to a model: a few hundred words in a few dozen
shapes, so that no two windows are alike and nothing repeats often enough to be skipped. It holds
no digits, so that a number in an answer can only come from a fact.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from lmstrix.engine.filler import manual, prose, source

Document = Literal["prose", "code", "technical"]
"""Kinds of text."""


class _Style(NamedTuple):
    """Words by kind, the shapes they go into, and how a remark is set between two passages."""

    words: Mapping[str, Sequence[str]]
    shapes: Sequence[str]
    remark: str
    end: str


_STYLES: Final[Mapping[Document, _Style]] = {
    "prose": _Style(prose.WORDS, prose.SHAPES, "{} ", " "),
    "code": _Style(source.WORDS, source.SHAPES, "# {}\n", "\n"),
    "technical": _Style(manual.WORDS, manual.SHAPES, "- {}\n", "\n"),
}
_SLOT: Final = re.compile(r"\{(\w+)(?:=(\w+))?\}")  # {kind}, {name=kind}, then {name} again
_BEFORE_VOWEL: Final = re.compile(r"\b([Aa]) (?=[aeiou])")
_WORD: Final = re.compile(r"\s*(?:[a-zA-Z]+|[^a-zA-Z\s]+)")  # identifiers are cut, as tokens are


class Filler:
    """An endless run of passages (a sentence, or a line), the same for the same seed."""

    def __init__(self, seed: int, document: Document = "prose") -> None:
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose, and no secret
        self._style = _STYLES[document]
        self._passages: list[tuple[str, int]] = []
        self._words = 0

    def passages(self, words: int) -> list[str]:
        """Return the first `words` words; joined, the passages are the text. The last may be cut.

        A word is a run of letters, or of other signs that are no space.
        """
        while self._words < words:
            self._go_on()
        told, left = [], words
        for passage, length in self._passages:
            if left <= 0:
                break
            told.append(passage if length <= left else self._cut(passage, left))
            left -= length
        return told

    def remark(self, sentence: str) -> str:
        """Return `sentence` as a passage of its own, in the manner of this kind of text."""
        return self._style.remark.format(sentence)

    def _go_on(self) -> None:
        text = self._filled(self._random.choice(self._style.shapes)) + self._style.end
        for passage in text.splitlines(keepends=True):
            length = len(_WORD.findall(passage))
            self._passages.append((passage, length))
            self._words += length

    def _filled(self, shape: str) -> str:
        named: dict[str, str] = {}

        def word(slot: re.Match[str]) -> str:
            name, kind = slot.groups()
            if name in named:
                return named[name]
            chosen = self._random.choice(self._style.words[kind or name])
            if kind is not None:
                named[name] = chosen
            return chosen

        return _BEFORE_VOWEL.sub(r"\1n ", _SLOT.sub(word, shape))

    def _cut(self, passage: str, words: int) -> str:
        return "".join(_WORD.findall(passage)[:words]) + self._style.end
