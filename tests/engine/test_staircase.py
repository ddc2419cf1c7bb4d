"""A window is filled to the token, each stair goes on from the last, facts are in their place."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.filler import Document
from lmstrix.engine.questions import OwnQuestion, facts
from lmstrix.engine.recall import recall_limit, recall_notes, usable_at_speed
from lmstrix.engine.staircase import SLACK, SPREAD, TAIL, Style, fitted_staircase, halvings
from lmstrix.ports import Prompt
from lmstrix.testing import count_pieces
from lmstrix.values import RecallScore, Stair

SEEDS = st.integers(0, 1_000)
DOCUMENTS = st.sampled_from(["prose", "code", "technical"])
FAILED = "recall 2 of 8 at 2,000 tokens"
PARTS = st.sampled_from([TAIL, SPREAD])


def by_bytes(prompt: Prompt) -> int:
    """Count as a tokenizer without a vocabulary does."""
    return len(prompt.text.encode()) + 20


def by_words(prompt: Prompt) -> int:
    """Count as a tokenizer with a huge vocabulary does."""
    return len(prompt.text.split()) + 3


TOKENIZERS = st.sampled_from([count_pieces, by_bytes, by_words])


@settings(deadline=None, max_examples=30)
@given(
    count_tokens=TOKENIZERS,
    budget=st.integers(2_500, 20_000),
    seed=SEEDS,
    chat=st.booleans(),
    document=DOCUMENTS,
    parts=PARTS,
)
def test_window_is_filled_to_within_the_slack_in_few_counts(
    count_tokens: Callable[[Prompt], int],
    budget: int,
    seed: int,
    document: Document,
    parts: Sequence[Fraction],
    *,
    chat: bool,
) -> None:
    """Whatever a tokenizer makes of words: a window that is not full proves nothing of its end."""
    counted: list[int] = []

    def counting(prompt: Prompt) -> int:
        counted.append(count_tokens(prompt))
        return counted[-1]

    style = Style(seed=seed, chat=chat, document=document, parts=parts)
    landings, tokens = fitted_staircase(counting, budget, style)

    question = style.question(landings[-1], landings[-1].facts[0].fact)
    assert budget - SLACK <= tokens <= budget
    assert tokens == count_tokens(question.prompt)
    assert len(counted) <= 8
    assert question.prompt.chat == chat


@settings(deadline=None, max_examples=30)
@given(budget=st.integers(800, 20_000), seed=SEEDS, document=DOCUMENTS, parts=PARTS)
def test_each_stair_begins_with_the_last_and_is_twice_as_deep(
    budget: int, seed: int, document: Document, parts: Sequence[Fraction]
) -> None:
    """A prompt that goes on from what was read costs only what it adds."""
    style = Style(seed=seed, chat=True, document=document, parts=parts)
    landings, _ = fitted_staircase(count_pieces, budget, style)

    depths = [count_pieces(Prompt(text=landing.text)) for landing in landings]
    assert len(landings) == halvings(budget) + 1
    for one, two in pairwise(landings):
        assert two.text.startswith(one.text)
    for shallow, deep in pairwise(depths):
        assert deep / shallow == pytest.approx(2, rel=0.15)
    assert depths[-1] < 1_500 or 650 < depths[0] < 1_650


@settings(deadline=None, max_examples=30)
@given(budget=st.integers(4_000, 20_000), seed=SEEDS, document=DOCUMENTS)
def test_facts_stand_at_both_ends_and_at_every_seventh(
    budget: int, seed: int, document: Document
) -> None:
    """Recall is measured over the whole depth, and what is asked was told once, for each depth."""
    style = Style(seed=seed, chat=True, document=document, parts=SPREAD)
    landings, _ = fitted_staircase(count_pieces, budget, style)

    for landing in landings:
        for fact, position in [*landing.facts, *landing.others]:
            end = landing.text.index(fact.told) + len(fact.told)
            assert end / len(landing.text) == pytest.approx(position, abs=0.001)
            assert landing.text.count(fact.code) == landing.text.count(f"the {fact.subject} ") == 1
        positions = [told.position for told in landing.facts]
        assert positions == pytest.approx([part / 7 for part in range(7, -1, -1)], abs=0.08)
        assert positions[-1] <= 0.025
        assert positions[0] >= 0.98
    last = landings[-1]
    for told in (last.facts, last.others):
        assert last.text.index(told[-1].fact.told) <= 0.02 * len(last.text)
        assert told[0].position >= 0.98


@settings(deadline=None, max_examples=30)
@given(budget=st.integers(3_000, 20_000), seed=SEEDS, document=DOCUMENTS)
def test_fill_asks_about_the_last_fiftieth_alone(
    budget: int, seed: int, document: Document
) -> None:
    """Near the end the answer tells that the window was read, and not how good memory is."""
    style = Style(seed=seed, chat=True, document=document)
    landings, _ = fitted_staircase(count_pieces, budget, style)

    for landing in landings:
        [fact], [_] = landing.facts, landing.others
        assert landing.text.count(fact.fact.code) == 1
        assert fact.position >= 0.98
    [_], [other] = landings[-1].facts, landings[-1].others
    assert other.position >= 0.97
    assert landings[-1].text.count("The access code") == 2 * len(landings)


@given(budget=st.integers(1, 60), chat=st.booleans(), parts=PARTS)
def test_window_too_small_for_the_facts_gets_the_facts(
    budget: int, parts: Sequence[Fraction], *, chat: bool
) -> None:
    """The caller sees that they do not fit; nothing is cut."""
    style = Style(seed=1, chat=chat, parts=parts)
    [landing], tokens = fitted_staircase(by_bytes, budget, style)

    question = style.question(landing, landing.facts[0].fact)
    assert tokens == by_bytes(question.prompt) > budget
    assert landing.text.count("access code") == 2 * len(parts)


def test_own_question_stands_behind_the_text() -> None:
    """The user's words come last, and are not changed."""
    own = OwnQuestion(text="What is  2+2?\n", expect="4")
    style = Style(seed=1, chat=False, own=own)

    landings, _ = fitted_staircase(count_pieces, 2_000, style)

    question = style.question(landings[-1], landings[-1].facts[0].fact)
    assert question.prompt.text.endswith("\n\nWhat is  2+2?\n")
    assert question.about is own


def test_subjects_suffice_for_ten_million_tokens() -> None:
    """Each subject has one code, however large the window: two would make both answers wrong."""
    spots = {part / (1 << level) for level in range(halvings(10 << 20) + 1) for part in SPREAD}

    told = list(islice(facts(1), 2 * len(spots)))

    assert len({fact.subject for fact in told}) == len(told) == 2 * len(spots)


@pytest.mark.parametrize(
    ("tokens", "levels"),
    [(100, 0), (1_499, 0), (1_500, 1), (2_999, 1), (3_000, 2), (4_032, 2), (131_008, 7)],
)
def test_first_depth_is_about_a_thousand_tokens(tokens: int, levels: int) -> None:
    """It is what deeper ones are compared with."""
    assert halvings(tokens) == levels
    assert tokens < 750 or 750 <= tokens / 2**levels < 1_500 or levels == 0


def stairs(*found: int | None, tps: Sequence[float | None] = ()) -> list[Stair]:
    """Return stairs from 1 000 tokens on that found so many facts of eight, at such speeds."""
    speeds = [*tps, *[None] * len(found)]
    return [
        Stair(
            depth=1_000 * 2**level,
            prefilled=0,
            decode_tps=speeds[level],
            recall=None
            if score is None
            else RecallScore(asked=8, found=score, positions=(0.5,) * score),
        )
        for level, score in enumerate(found)
    ]


@pytest.mark.parametrize(
    ("found", "limit"),
    [
        ([8, 8, 8], 4_000),
        ([8, 7, 6], 2_000),
        ([8, 6, 7], 4_000),
        ([8, 0, 0], 1_000),
        ([4, 4, 3], 2_000),
        ([5, 8], 2_000),
        ([3, 8, 8], None),
        ([None, None], None),
        ([8, None], 1_000),
        ([], None),
    ],
)
def test_recall_limit_is_the_largest_depth_as_good_as_the_first(
    found: list[int | None], limit: int | None
) -> None:
    """85 % of what the model can do at all; without a baseline nothing is claimed."""
    assert recall_limit(stairs(*found)) == limit


@pytest.mark.parametrize(
    ("found", "notes"),
    [
        ([8, 7, 8], ""),
        ([3, 0, 0], ""),
        ([], ""),
        ([8, 8, 3], "recall 3 of 8 at 4,000 tokens, 8 of 8 at 1,000"),
        (
            [8, 2, 7, 1],
            f"{FAILED}, 8 of 8 at 1,000; 2,000 tokens failed before 4,000 passed",
        ),
    ],
)
def test_failing_depths_are_told_and_not_averaged(found: list[int], notes: str) -> None:
    """A deeper pass does not undo a failure above it; who reads must see both."""
    assert recall_notes(stairs(*found)) == notes


@pytest.mark.parametrize(
    ("tps", "usable"),
    [
        ([50, 40, 30], 4_000),
        ([50, 40, 29.9], 2_000),
        ([50, 20, 40], 1_000),
        ([20, 40, 40], None),
        ([50, None, 40], 1_000),
    ],
)
def test_speed_must_be_kept_down_to_the_depth_that_is_claimed(
    tps: list[float | None], usable: int | None
) -> None:
    """An answer in a full window was slow all the way, or was not seen to be fast."""
    assert usable_at_speed(stairs(None, None, None, tps=tps), 30) == usable
    assert usable_at_speed([], 30) is None
