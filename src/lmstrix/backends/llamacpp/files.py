"""Finds the models among the GGUF files in folders, and says what is wrong with the others."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lmstrix.backends.llamacpp.gguf import Header
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.backends.llamacpp.keys import Named, assign_keys
from lmstrix.backends.llamacpp.listing import ModelFile, group_parts, list_files, problem_line
from lmstrix.backends.llamacpp.names import (
    file_type_name,
    show_parameters,
    split_part,
    split_quantization,
)
from lmstrix.backends.llamacpp.walk import GGUFError, os_reason
from lmstrix.values import Model

__all__ = ["Found", "HeaderCache", "find_models", "identity"]

_PROJECTOR: Final = "mmproj"

_TEXTLESS: Final = frozenset(
    {
        "bert",
        "clip",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "llama-embed",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
        "wavtokenizer-dec",
    }
)
"""Architectures that read and never write: projectors, embedders, decoders of sound."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is in the folders. Models are in the order of their keys; a problem is one line."""

    models: tuple[Model, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A model's files, all parts of it, before it has a key."""

    first: ModelFile
    header: Header
    size_bytes: int
    parameters: int


def find_models(folders: Sequence[Path], cache: HeaderCache) -> Found:
    """Return the models in `folders` and all folders below, and why other files are none.

    Projectors for images, adapters, vocabularies, importance matrices and models that write no
    text are passed over silently, and so is a folder that does not exist. The parts of a split
    model are one model, under the path of the first. Keys are as `keys` says.

    Args:
        folders: Where to look. One that is reached twice, by links too, is searched once.
        cache: Headers already known; it is saved.
    """
    problems: list[str] = []
    projected: set[str] = set()
    candidates: list[_Candidate] = []
    for files in group_parts(list_files(folders, problems)):
        try:
            candidate = _read(files, cache)
        except GGUFError as error:
            problems.append(problem_line(str(error.path), error.reason))
            continue
        if candidate is None or _projects(candidate.header):
            projected.add(files[0].folder)
        elif _writes_text(candidate):
            candidates.append(candidate)
    cache.save()
    models = _models(candidates, projected)
    return Found(models=tuple(sorted(models, key=lambda it: it.key)), problems=tuple(problems))


def identity(path: Path, cache: HeaderCache) -> str:
    """Return what a fingerprint calls a model: its size in bytes, and a digest of its header.

    Args:
        path: The file, or the first part of a split one.
        cache: Headers already known.

    Raises:
        GGUFError: A part is missing or cannot be read.
    """
    stem, _, total = split_part(path.stem)
    names = [f"{stem}-{part:05}-of-{total:05}" for part in range(1, total + 1)]
    parts = [path.with_name(f"{name}{path.suffix}") for name in names] if total > 1 else [path]
    try:
        size = sum(part.stat().st_size for part in parts)
    except OSError as error:
        raise GGUFError(path, os_reason(error)) from error
    return f"{size}-{cache.read(path).digest[:12]}"


def _read(files: Sequence[ModelFile], cache: HeaderCache) -> _Candidate | None:
    """Return what the files of one model say; None for a projector, which is not read.

    Raises:
        GGUFError: A part is missing, truncated, or no part of this model.
    """
    first = files[0]
    if _PROJECTOR in first.stem.lower():
        return None
    if len(files) != first.total:
        lost = first.total - len(files)
        raise GGUFError(Path(first.path), f"{lost} of the {first.total} parts are missing")
    headers = [_check(file, cache.read(file.path, file.stat)) for file in files]
    return _Candidate(
        first=first,
        header=headers[0],
        size_bytes=sum(file.stat.st_size for file in files),
        parameters=sum(header.parameters for header in headers),
    )


def _check(file: ModelFile, header: Header) -> Header:
    """Return `header` if the file is all there, and the part that its name says."""
    if file.stat.st_size < header.needed_bytes:
        raise GGUFError(
            Path(file.path),
            f"truncated: needs {header.needed_bytes} bytes, has {file.stat.st_size}",
        )
    number, total = (header.split_no or 0) + 1, header.split_count or 1
    if (number, total) != (file.number, file.total):
        raise GGUFError(
            Path(file.path),
            f"its name says part {file.number} of {file.total}, its header {number} of {total}",
        )
    if file.number == 1 and header.architecture is None and header.general_type in {None, "model"}:
        raise GGUFError(Path(file.path), "its header names no architecture")
    return header


def _projects(header: Header) -> bool:
    return header.architecture == "clip" or header.general_type == _PROJECTOR


def _writes_text(candidate: _Candidate) -> bool:
    return (
        candidate.header.general_type in {None, "model"}
        and candidate.header.architecture not in _TEXTLESS
        and candidate.parameters > 0
    )


def _models(candidates: Sequence[_Candidate], projected: AbstractSet[str]) -> Iterator[Model]:
    named = [_named(candidate) for candidate in candidates]
    for candidate, name, key in zip(candidates, named, assign_keys(named), strict=True):
        header = candidate.header
        yield Model(
            key=key,
            backend="llamacpp",
            path=name.path,
            format="gguf",
            architecture=header.architecture,
            params=header.size_label or show_parameters(candidate.parameters),
            quantization=file_type_name(header.file_type)
            or (name.quantization.upper() if name.quantization else None),
            size_bytes=candidate.size_bytes,
            declared_context=header.context_length,
            vision=candidate.first.folder in projected,
            tool_use=header.template_has_tools if header.has_chat_template else None,
        )


def _named(candidate: _Candidate) -> Named:
    stem, quantization = split_quantization(candidate.first.stem)
    return Named(
        path=candidate.first.path,
        stem=stem,
        quantization=quantization or file_type_name(candidate.header.file_type),
    )
