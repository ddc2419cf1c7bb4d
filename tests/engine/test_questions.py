"""A window is filled to the token with prose, and only the right code is a right answer."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.filler import Filler
from lmstrix.engine.questions import (
    SLACK,
    Fact,
    answer_reserve,
    fitted_question,
    short_question,
)
from lmstrix.ports import Prompt
from lmstrix.testing import count_pieces

FACT = Fact(subject="lighthouse", code="4821973")
SEEDS = st.integers(0, 1_000)


def by_bytes(prompt: Prompt) -> int:
    """Count as a tokenizer without a vocabulary does."""
    return len(prompt.text.encode()) + 20


def by_words(prompt: Prompt) -> int:
    """Count as a tokenizer with a huge vocabulary does."""
    return len(prompt.text.split()) + 3


TOKENIZERS = st.sampled_from([count_pieces, by_bytes, by_words])


@settings(deadline=None)
@given(
    count_tokens=TOKENIZERS,
    budget=st.integers(1_000, 40_000),
    seed=SEEDS,
    chat=st.booleans(),
)
def test_window_is_filled_to_within_the_slack_in_few_counts(
    count_tokens: Callable[[Prompt], int], budget: int, seed: int, *, chat: bool
) -> None:
    """Whatever a tokenizer makes of words: a window that is not full proves nothing of its end."""
    counted: list[int] = []

    def counting(prompt: Prompt) -> int:
        counted.append(count_tokens(prompt))
        return counted[-1]

    question, tokens = fitted_question(counting, budget, seed=seed, chat=chat)

    assert budget - SLACK <= tokens <= budget
    assert tokens == count_tokens(question.prompt)
    assert len(counted) <= 8
    assert question.prompt.chat == chat


@given(budget=st.integers(1, 60), chat=st.booleans())
def test_window_too_small_for_the_question_gets_the_bare_question(
    budget: int, *, chat: bool
) -> None:
    """The caller sees that it does not fit; nothing is cut."""
    question, tokens = fitted_question(by_bytes, budget, seed=1, chat=chat)

    assert tokens == by_bytes(question.prompt) > budget
    assert question.fact.told in question.prompt.text


@given(seed=SEEDS, chat=st.booleans())
def test_fact_is_told_once_in_the_last_fiftieth(seed: int, *, chat: bool) -> None:
    """Near the end the answer tells that the window was read, and not how good memory is."""
    question, _ = fitted_question(count_pieces, 5_000, seed=seed, chat=chat)
    prose = question.prompt.text.rsplit("\n\n", 1)[0]

    assert prose.count(question.fact.code) == 1
    behind = prose.split(question.fact.told)[1]
    assert 0 < len(behind) <= len(prose) / 50


@given(seed=SEEDS, chat=st.booleans())
def test_same_seed_asks_the_same(seed: int, *, chat: bool) -> None:
    """A probe can be repeated to the letter."""
    assert short_question(seed, chat=chat) == short_question(seed, chat=chat)
    assert short_question(seed, chat=chat) != short_question(seed + 1, chat=chat)


def test_base_model_is_given_the_beginning_of_its_answer() -> None:
    """A base model does not answer; it goes on."""
    text = short_question(1, chat=False).prompt.text

    assert re.search(r"Answer: The access code of the \w+ is$", text)


def test_chat_answer_has_more_room_than_a_raw_one() -> None:
    """A chat model wraps the code in a sentence."""
    assert answer_reserve(chat=True) > answer_reserve(chat=False)


@pytest.mark.parametrize(
    "answer",
    [
        "4821973",
        " 4821973.",
        "4,821,973",
        "4 821 973",
        "4'821'973",
        "The access code of the lighthouse is **4821973**.",
        "4821973\nQuestion: What is 12?",
        "<think>Was it 1 or 2?</think>4821973",
    ],
)
def test_code_as_the_first_number_is_right(answer: str) -> None:
    """How it is dressed does not matter."""
    assert FACT.is_in(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I do not know.",
        "48219731",
        "14821973",
        "4821973.5",
        "4,821,973,000",
        "482197",
        "1234567, or 4821973",
        "<think>4821973",
        "4 8 2 1 9 7 3",
    ],
)
def test_anything_else_is_wrong(answer: str) -> None:
    """A model that lists numbers, or runs digits together, has not found the fact."""
    assert not FACT.is_in(answer)


@given(seed=SEEDS)
def test_filler_is_varied_and_without_numbers(seed: int) -> None:
    """Repeated text would compress in a cache, and a number might be taken for the code."""
    sentences = Filler(seed).sentences(10_000)

    assert len(set(sentences)) > 0.97 * len(sentences)
    assert len({sentence.split()[0] for sentence in sentences}) > 10
    assert not re.search(r"\d", " ".join(sentences))


@given(seed=SEEDS, words=st.lists(st.integers(0, 3_000), min_size=1, max_size=5))
def test_filler_gives_as_many_words_as_asked_for_and_always_the_same(
    seed: int, words: list[int]
) -> None:
    """A longer text begins as a shorter one does, save for the last sentence, which is cut."""
    filler = Filler(seed)
    longest = Filler(seed).sentences(3_200)

    for count in words:
        sentences = filler.sentences(count)
        assert len(" ".join(sentences).split()) == count
        assert sentences[:-1] == longest[: max(0, len(sentences) - 1)]
