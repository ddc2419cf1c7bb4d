"""The models that are known: which of them are meant, and in what order they are shown. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

from lmstrix.engine.evidence import told
from lmstrix.errors import AmbiguousModelError, RequestError, UnknownModelError
from lmstrix.values import Fingerprint, Limits, LoadedModel, Model, ModelList

SortKey = Literal["id", "ctx", "declared", "size", "tps", "ttft"]

_ENCODERS: Final = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures, as GGUF files name them, that only encode."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which models, in what order, which page.

    Every word of `query` must be found in the key, architecture, parameters or quantization.
    `tested` asks whether a context that works is known. `min_context` is in tokens and compared
    with the best context measured, or with the declared one as long as nothing was measured.
    """

    query: str = ""
    tested: Literal["any", "yes", "no"] = "any"
    loaded_only: bool = False
    min_context: int = 0
    sort: SortKey = "id"
    descending: bool = False
    limit: int | None = None
    offset: int = 0


def select(models: Sequence[Model], query: Query) -> ModelList:
    """Return the page of `models` that `query` asks for; what is unknown sorts last, both ways."""
    matching = _sorted([model for model in models if _matches(model, query)], query)
    end = len(matching) if query.limit is None else query.offset + query.limit
    return ModelList(
        models=tuple(matching[query.offset : end]),
        total=len(matching),
        next_offset=end if end < len(matching) else None,
    )


def resolve(name: str, models: Sequence[Model]) -> Model:
    """Return the one model that `name` names: by its key, else by a unique part of it.

    Raises:
        UnknownModelError: No key contains `name`; the nearest keys are in the hint.
        AmbiguousModelError: Several keys contain it.
        RequestError: `name` is empty and there is a choice.
    """
    by_key = {model.key: model for model in models}
    if name in by_key:
        return by_key[name]
    part = name.casefold()
    candidates = [key for key in by_key if key.casefold() == part] or [
        key for key in by_key if part in key.casefold()
    ]
    if not candidates:
        raise UnknownModelError(name, list(by_key))
    if len(candidates) > 1:
        if not name:
            raise RequestError("no model was named", hint="name one that `lmstrix list` shows")
        raise AmbiguousModelError(name, candidates)
    return by_key[candidates[0]]


def with_loaded(
    models: Sequence[Model], loaded: Sequence[tuple[str, LoadedModel]]
) -> Sequence[Model]:
    """Return `models` with the copies that are `loaded` now, and no others."""
    return [
        model.model_copy(update={"loaded": tuple(copy for key, copy in loaded if key == model.key)})
        for model in models
    ]


def with_evidence(
    models: Sequence[Model],
    limits_of: Callable[[Model], Sequence[Limits]],
    fingerprint_of: Callable[[Model], Fingerprint | None],
) -> Sequence[Model]:
    """Return `models` with the limits that fit a load made now, and the status they give.

    Args:
        models: Models with their newest limits, as a registry tells them.
        limits_of: Tells all limits of a model, one for each fingerprint, the newest last.
        fingerprint_of: Tells the fingerprint of a load made now, or None if that is not known: then
            the model stays as it is. Not asked for models of which nothing is stored.
    """

    def weighed(model: Model) -> Model:
        now = None if model.limits is None else fingerprint_of(model)
        return model if now is None else told(model, limits_of(model), now)

    return [weighed(model) for model in models]


def is_embedding(model: Model) -> bool:
    """Whether `model` turns text into numbers, not into text: there is no answer to test."""
    key = model.key.casefold()
    encodes = (model.architecture or "").casefold() in _ENCODERS
    return encodes or "embed" in key or "rerank" in key


def by_size(models: Sequence[Model]) -> Sequence[Model]:
    """Return `models` in the order to test them: smallest first, of unknown size last, by key."""

    def rank(model: Model) -> tuple[bool, int, str]:
        return model.size_bytes is None, model.size_bytes or 0, model.key

    return sorted(models, key=rank)


def parse_sort(word: str) -> tuple[SortKey, bool]:
    """Return the key that `word` sorts by, and whether a suffix `d` reverses it.

    Raises:
        RequestError: There is no such key.
    """
    for key, descending in ((word, False), (word.removesuffix("d"), True)):
        if key in get_args(SortKey):
            return cast("SortKey", key), descending
    listed = ", ".join(f"`{key}`" for key in get_args(SortKey))
    raise RequestError(
        f"unknown sort key: `{word}`", hint=f"it is one of {listed}, with `d` behind to reverse"
    )


def _measured(model: Model) -> int | None:
    return model.limits.best if model.limits else None


def _matches(model: Model, query: Query) -> bool:
    described = (model.key, model.architecture, model.params, model.quantization)
    text = " ".join(part for part in described if part).casefold()
    room = _measured(model) or model.declared_context or 0
    return (
        all(word in text for word in query.query.casefold().split())
        and (query.tested == "any" or (query.tested == "yes") == (_measured(model) is not None))
        and (bool(model.loaded) or not query.loaded_only)
        and room >= query.min_context
    )


def _sorted(models: Sequence[Model], query: Query) -> Sequence[Model]:
    by_key = sorted(models, key=lambda model: model.key)
    if query.sort == "id":
        return by_key[::-1] if query.descending else by_key
    value = _VALUES[query.sort]
    sign = -1 if query.descending else 1

    def rank(model: Model) -> tuple[bool, float]:
        found = value(model)
        return found is None, 0 if found is None else sign * found

    return sorted(by_key, key=rank)


_VALUES: Final[Mapping[str, Callable[[Model], float | None]]] = {
    "ctx": _measured,
    "declared": lambda model: model.declared_context,
    "size": lambda model: model.size_bytes,
    "tps": lambda model: model.limits.decode_tps if model.limits else None,
    "ttft": lambda model: model.limits.ttft_s if model.limits else None,
}
