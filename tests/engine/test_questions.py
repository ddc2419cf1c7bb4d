"""Short questions can be answered by who reads them, and only the right answer is right."""

import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.engine.questions import (
    OWN_TOKENS,
    Fact,
    OwnQuestion,
    answer_reserve,
    ask,
    facts,
    short_questions,
)
from lmstrix.testing.model import recite

FACT = Fact(subject="lighthouse", code="4821973")
SEEDS = st.integers(0, 1_000)


@given(seed=SEEDS, chat=st.booleans())
def test_three_short_questions_are_answered_by_who_reads_them(seed: int, *, chat: bool) -> None:
    """In prose, in a manual, and with a second fact behind the one that is asked for."""
    questions = list(short_questions(seed, chat=chat))

    assert len({question.prompt for question in questions}) == 3
    for question, told in zip(questions, (1, 1, 2), strict=True):
        text = question.prompt.text
        assert question.prompt.chat == chat
        assert question.about.is_in(recite(text))
        assert len(re.findall(r"\d{7}", text)) == told
        assert len(text) < 1_000
    [*_, last] = re.findall(r"\d{7}", questions[2].prompt.text)
    assert not questions[2].about.is_in(last)


@given(seed=SEEDS, chat=st.booleans())
def test_same_seed_asks_the_same(seed: int, *, chat: bool) -> None:
    """A probe can be repeated to the letter."""
    asked = list(short_questions(seed, chat=chat))

    assert asked == list(short_questions(seed, chat=chat))
    assert not {question.prompt for question in asked} & {
        question.prompt for question in short_questions(seed + 1, chat=chat)
    }


@given(seed=SEEDS)
def test_code_of_another_fact_is_never_right(seed: int) -> None:
    """A model that gives back some number that it has read has not found the right one."""
    one, *others = islice(facts(seed), 100)

    assert not any(one.is_in(other.told) for other in others)


def test_base_model_is_given_the_beginning_of_its_answer() -> None:
    """A base model does not answer; it goes on."""
    for question in short_questions(1, chat=False):
        assert re.search(
            r"\n\nQuestion: .*\nAnswer: The access code of the \w+ is$", question.prompt.text
        )


def test_more_room_is_left_for_longer_answers() -> None:
    """A chat model wraps the code in a sentence, and a user may ask for anything."""
    raw, chat = answer_reserve(chat=False), answer_reserve(chat=True)

    assert raw < chat < answer_reserve(chat=False, own=True) == 2 * OWN_TOKENS
    own = ask("", OwnQuestion(text="Why?", expect="because"), chat=True)
    assert (own.prompt.text, own.answer_tokens) == ("Why?", OWN_TOKENS)
    assert ask("", FACT, chat=True).answer_tokens == chat / 2


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


@pytest.mark.parametrize(
    ("expect", "answer"),
    [
        ("4", "2 + 2 = 4"),
        ("4", "The answer is 4."),
        ("4", "**4**, of course; _4_"),
        ("4", "4, because"),
        ("Paris", "it is PARIS!"),
        ("New York", "In new\n york, I think"),
        ("C++", "I like C++."),
        ("4.5", "It is 4.5"),
        ("-4", "It is -4."),
        ("yes", "<think>no, no</think>Yes"),
    ],
)
def test_expected_words_are_found_by_themselves(expect: str, answer: str) -> None:
    """Case, emphasis and line breaks are no matter."""
    assert OwnQuestion(text="?", expect=expect).is_in(answer)


@pytest.mark.parametrize(
    ("expect", "answer"),
    [
        ("4", "42"),
        ("4", "24"),
        ("4", "4.5"),
        ("4", "1.4"),
        ("4", "1,4"),
        ("4", "4,000"),
        ("4", "-4"),
        ("4", "x4"),
        ("Paris", "Parisian"),
        ("Paris", "comParis"),
        ("New York", "Newyork"),
        ("C++", "C+"),
        ("4.5", "4x5"),
        ("yes", "<think>yes</think>No"),
        ("yes", "<think>yes"),
        ("yes", ""),
    ],
)
def test_part_of_a_longer_word_or_number_is_not_found(expect: str, answer: str) -> None:
    """An answer that holds the right letters by chance is wrong."""
    assert not OwnQuestion(text="?", expect=expect).is_in(answer)
