"""Filler looks like what it is said to be, never repeats, and holds no numbers."""

import ast
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.filler import Document, Filler

SEEDS = st.integers(0, 1_000)
DOCUMENTS = st.sampled_from(["prose", "code", "technical"])
WORD = re.compile(r"[a-zA-Z]+|[^a-zA-Z\s]+")


@settings(deadline=None)
@given(seed=SEEDS, document=DOCUMENTS)
def test_text_is_varied_and_without_numbers(seed: int, document: Document) -> None:
    """Repeated text would compress in a cache, and a number might be taken for a code."""
    text = "".join(Filler(seed, document).passages(8_000))

    assert not re.search(r"\d", text)
    pieces = [text[start : start + 200] for start in range(0, len(text), 200)]
    assert len(set(pieces)) == len(pieces)
    assert len(set(WORD.findall(text))) > 150


@given(seed=SEEDS, document=DOCUMENTS, words=st.integers(0, 2_000))
def test_text_has_as_many_words_as_asked_for(seed: int, document: Document, words: int) -> None:
    """A window is fitted by counting words."""
    text = "".join(Filler(seed, document).passages(words))

    assert len(WORD.findall(text)) == pytest.approx(words, abs=1)


@given(seed=SEEDS, document=DOCUMENTS, words=st.integers(0, 500))
def test_longer_text_goes_on_from_the_shorter(seed: int, document: Document, words: int) -> None:
    """But for the passage that is cut, it is the same text."""
    filler = Filler(seed, document)
    *whole, _ = filler.passages(words + 500)

    shorter = filler.passages(words)[:-1]

    assert whole[: len(shorter)] == shorter


@pytest.mark.parametrize("seed", range(5))
def test_code_is_code(seed: int) -> None:
    """It is parsed as Python, remarks included, and indented as such."""
    filler = Filler(seed, "code")
    *passages, _ = filler.passages(3_000)
    passages.insert(len(passages) // 2, filler.remark("The access code of the spa is 1234567."))
    text = "".join(passages)

    tree = ast.parse(text[: text.rindex("\n\n\n")])

    assert sum(isinstance(node, ast.FunctionDef) for node in ast.walk(tree)) > 10
    assert "\n# The access code of the spa is 1234567.\n" in text


def test_manual_has_headings_and_lists() -> None:
    """Line structure is what tells it from prose to a tokenizer."""
    text = "".join(Filler(1, "technical").passages(3_000))

    assert len(re.findall(r"^##+ ", text, re.MULTILINE)) > 5
    assert len(re.findall(r"^- ", text, re.MULTILINE)) > 20


def test_kinds_differ() -> None:
    """A kind that is ignored would go unnoticed."""
    kinds: list[Document] = ["prose", "code", "technical"]

    assert len({"".join(Filler(1, kind).passages(50)) for kind in kinds}) == 3
