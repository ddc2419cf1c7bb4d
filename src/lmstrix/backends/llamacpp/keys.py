"""Gives every model file found a key that no other has.

The key is the file's name without quantization and extension, in lower case. What is added where
that is not enough:

- `@q4_k_m` behind, where several quantizations of one model are there;
- `publisher/` in front, where files in several folders are still alike: the folder above the
  file's, as in LM Studio's `publisher/repository/file.gguf`, else the file's own, else both;
- `~2` behind, counted in the order of paths, where even that does not tell them apart.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Named:
    """What tells a model file apart; `stem` is its name without quantization and extension."""

    path: str
    stem: str
    quantization: str | None


def assign_keys(models: Sequence[Named]) -> list[str]:
    """Return a key for each of `models`, in lower case and all different."""
    keys = [model.stem.lower() for model in models]
    for group in _alike(keys):
        if len({_quantization(models[index]) for index in group}) > 1:
            for index in group:
                keys[index] += _quantization(models[index])
    for group in _alike(keys):
        for index, folder in zip(group, _folders([models[i] for i in group]), strict=True):
            keys[index] = f"{folder}{keys[index]}"
    return _count(keys, order=sorted(range(len(models)), key=lambda index: models[index].path))


def _alike(keys: Sequence[str]) -> list[list[int]]:
    """Return the places of equal keys, a list for each key that is there more than once."""
    groups = defaultdict(list)
    for index, key in enumerate(keys):
        groups[key].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _quantization(model: Named) -> str:
    return f"@{model.quantization.lower()}" if model.quantization else ""


def _folders(models: Sequence[Named]) -> list[str]:
    """Return the least of each model's folders that tells all of them apart, if any does."""
    parents = [PurePath(model.path.lower()).parent for model in models]
    above = [f"{parent.parent.name}/" for parent in parents]
    own = [f"{parent.name}/" for parent in parents]
    both = [f"{first}{second}" for first, second in zip(above, own, strict=True)]
    for choice in (above, own, both):
        if len(set(choice)) == len(models) and "/" not in choice:
            return choice
    return both


def _count(keys: list[str], *, order: Sequence[int]) -> list[str]:
    taken: set[str] = set()
    for index in order:
        key, number = keys[index], 1
        while keys[index] in taken:
            number += 1
            keys[index] = f"{key}~{number}"
        taken.add(keys[index])
    return keys
