"""A model is named by any unique part of its key, and lists keep their promises."""

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.engine.catalogue import (
    Query,
    SortKey,
    by_size,
    is_embedding,
    parse_sort,
    resolve,
    select,
    with_loaded,
)
from lmstrix.errors import AmbiguousModelError, RequestError, UnknownModelError
from lmstrix.values import Limits, LoadedModel, Model


def model(
    key: str, *, usable: int | None = None, tps: float | None = None, **fields: object
) -> Model:
    """Return a model, with limits if a figure of them is given."""
    limits = None
    if usable is not None or tps is not None:
        limits = Limits(declared=None, usable=usable, decode_tps=tps, ttft_s=tps)
    return Model.model_validate({"key": key, "backend": "fake", "limits": limits, **fields})


def keys(*models: Model, **query: object) -> list[str]:
    """Return the keys of the models that the query selects, in order."""
    return [found.key for found in select(models, Query(**query)).models]  # type: ignore[arg-type] # a test's shorthand


FIGURES = st.none() | st.integers(1, 5)
MODELS = st.lists(
    st.builds(
        model,
        st.text("abc", min_size=1, max_size=3),
        usable=FIGURES,
        tps=FIGURES,
        declared_context=FIGURES,
        size_bytes=FIGURES,
    ),
    max_size=8,
    unique_by=lambda found: found.key,
)


def test_exact_key_wins_over_the_keys_it_is_a_part_of() -> None:
    """Else `qwen3` could never be named once `qwen3-8b` is there."""
    assert resolve("qwen3", [model("qwen3-8b"), model("qwen3")]).key == "qwen3"


def test_key_in_other_letters_wins_over_the_keys_it_is_a_part_of() -> None:
    """Case is not what tells two models apart."""
    assert resolve("QWEN3", [model("qwen3-8b"), model("Qwen3")]).key == "Qwen3"


def test_case_tells_apart_what_nothing_else_does() -> None:
    """Two folders may hold `Qwen3` and `qwen3`; each can still be named."""
    twins = [model("Qwen3"), model("qwen3")]

    assert [resolve(found.key, twins).key for found in twins] == ["Qwen3", "qwen3"]
    with pytest.raises(AmbiguousModelError):
        resolve("QWEN3", twins)


def test_unique_part_names_a_model_whatever_its_case() -> None:
    """People remember `8B`, not the whole key."""
    assert resolve("8B", [model("qwen3-8b"), model("gemma-3-270m")]).key == "qwen3-8b"


def test_ambiguous_part_is_refused_with_every_candidate() -> None:
    """Guessing would test or load the wrong model; the list lets the caller choose."""
    with pytest.raises(AmbiguousModelError) as refusal:
        resolve("qwen", [model("qwen3-8b"), model("qwen3-4b"), model("gemma")])

    assert refusal.value.candidates == ["qwen3-8b", "qwen3-4b"]
    assert "`qwen3-4b`" in (refusal.value.hint or "")


def test_unknown_name_is_refused_with_the_three_nearest() -> None:
    """A typing mistake is the usual cause; three keys are as many as anybody reads."""
    known = [model(f"qwen3-{size}b") for size in (1, 2, 4, 8)] + [model("zephyr")]

    with pytest.raises(UnknownModelError) as refusal:
        resolve("qwen3-7b", known)

    assert len(refusal.value.nearest) == 3
    assert "zephyr" not in refusal.value.nearest


def test_no_name_means_the_only_model_there_is() -> None:
    """Who has one model need not name it."""
    assert resolve("", [model("gemma")]).key == "gemma"


def test_no_name_among_several_models_is_refused_as_such() -> None:
    """Every key contains the empty text; to call that ambiguous would only puzzle."""
    with pytest.raises(RequestError, match="no model was named"):
        resolve("", [model("gemma"), model("qwen")])


@given(models=MODELS, sort=st.sampled_from(get_args(SortKey)), descending=st.booleans())
def test_unknown_values_sort_last_in_both_directions(
    models: list[Model], sort: SortKey, *, descending: bool
) -> None:
    """An unmeasured model is never shown as the best, nor as the worst."""
    figures = {
        "id": lambda found: found.key,
        "ctx": lambda found: found.limits and found.limits.usable,
        "declared": lambda found: found.declared_context,
        "size": lambda found: found.size_bytes,
        "tps": lambda found: found.limits and found.limits.decode_tps,
        "ttft": lambda found: found.limits and found.limits.ttft_s,
    }

    found = select(models, Query(sort=sort, descending=descending)).models
    values = [figures[sort](one) for one in found]
    known = [value for value in values if value is not None]

    assert values == known + [None] * (len(values) - len(known))
    assert known == sorted(known, reverse=descending)
    if sort != "id":
        for (one, two), (left, right) in zip(pairwise(found), pairwise(values), strict=True):
            assert left != right or one.key < two.key


@given(models=MODELS, limit=st.integers(1, 4))
def test_pages_hold_every_model_once(models: list[Model], limit: int) -> None:
    """An agent that follows `next_offset` sees everything, and stops."""
    seen: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = select(models, Query(limit=limit, offset=offset))
        assert page.total == len(models)
        seen += [found.key for found in page.models]
        offset = page.next_offset

    assert seen == sorted(found.key for found in models)


def test_every_word_of_the_query_must_be_found() -> None:
    """Two words narrow a search, and quantization is what tells twins apart."""
    models = (model("qwen3-8b", quantization="Q4_K_M"), model("qwen3-4b", quantization="Q8_0"))

    assert keys(*models, query="Qwen q4_k") == ["qwen3-8b"]
    assert keys(*models, query="qwen gemma") == []


def test_tested_means_that_a_context_is_known_to_work() -> None:
    """A probe that failed everywhere leaves nothing to rely on."""
    models = (model("failed", tps=1.0), model("tested", usable=8_192), model("untouched"))

    assert keys(*models, tested="yes") == ["tested"]
    assert keys(*models, tested="no") == ["failed", "untouched"]


def test_min_context_goes_by_what_was_measured_before_what_is_declared() -> None:
    """A model that declares 131 072 and holds 4 096 does not serve who needs 8 192."""
    models = (
        model("boasting", usable=4_096, declared_context=131_072),
        model("promising", declared_context=32_768),
        model("silent"),
        model("true", usable=8_192, declared_context=131_072),
    )

    assert keys(*models, min_context=8_192) == ["promising", "true"]


def test_loaded_copies_are_those_of_now() -> None:
    """What the registry remembers of loaded copies may be long gone."""
    copy = LoadedModel(identifier="b:1", context=4_096)
    known = [model("a", loaded=(copy,)), model("b")]

    marked = with_loaded(known, [("b", copy)])

    assert [found.loaded for found in marked] == [(), (copy,)]
    assert keys(*marked, loaded_only=True) == ["b"]


@pytest.mark.parametrize(
    ("word", "key", "descending"),
    [
        ("id", "id", False),
        ("idd", "id", True),
        ("ctxd", "ctx", True),
        ("declared", "declared", False),
        ("declaredd", "declared", True),
    ],
)
def test_suffix_d_reverses_a_sort_key(word: str, key: str, *, descending: bool) -> None:
    """Keys that end in `d` themselves are not mistaken for reversed ones."""
    assert parse_sort(word) == (key, descending)


@pytest.mark.parametrize("word", ["", "d", "smart", "ctxdd"])
def test_unknown_sort_key_is_refused_with_those_there_are(word: str) -> None:
    """Sorting by something else without a word would pass for the wish."""
    with pytest.raises(RequestError, match="unknown sort key") as refusal:
        parse_sort(word)

    assert "`ttft`" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    ("key", "architecture", "embeds"),
    [
        ("all-minilm-l6-v2", "bert", True),
        ("embeddinggemma-300m", "gemma-embedding", True),
        ("jina", "Jina-BERT-v3", True),
        ("text-Embedding-nomic", None, True),
        ("qwen3-reranker-0.6b", "qwen3", True),
        ("robert-8b", "llama", False),
        ("gemma-3-270m", "gemma3", False),
        ("mystery", None, False),
    ],
)
def test_model_that_only_encodes_is_told_from_one_that_answers(
    key: str, architecture: str | None, *, embeds: bool
) -> None:
    """A batch would call each of them broken."""
    assert is_embedding(model(key, architecture=architecture)) is embeds


def test_batch_begins_with_the_smallest_model() -> None:
    """Results come soonest so, and what may trouble the machine comes last."""
    models = [
        model("unknown"),
        model("large", size_bytes=9),
        model("b", size_bytes=2),
        model("a", size_bytes=2),
    ]

    assert [found.key for found in by_size(models)] == ["a", "b", "large", "unknown"]
