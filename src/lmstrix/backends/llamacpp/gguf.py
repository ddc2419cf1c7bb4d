"""What the header of a GGUF file says: the format's metadata, without its vocabulary.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Versions 2 and 3, which lay
the header out alike. `walk` guards against what a hostile header may claim.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from struct import Struct
from typing import Final

from lmstrix.backends.llamacpp.names import printable
from lmstrix.backends.llamacpp.tensors import MOST_TENSORS, read_tensors
from lmstrix.backends.llamacpp.walk import U32, U64, GGUFError, Walk, os_reason

__all__ = ["GGUFError", "Header", "read_header"]

_STRING: Final = 8
_ARRAY: Final = 9
_BOOL: Final = 7
_NUMBERS: Final = {
    kind: Struct(f"<{code}")
    for kind, code in zip((0, 1, 2, 3, 4, 5, 6, _BOOL, 10, 11, 12), "BbHhIifBQqd", strict=True)
}

_MOST_KEYS: Final = 8192
_LONGEST_NAME: Final = 1024
_LONGEST_LABEL: Final = 256
_LONGEST_TUPLE: Final = 4096
_DEEPEST: Final = 4
_LARGEST_INTEGER: Final = 2**31 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a GGUF file says of its model. None is what it does not say, or says nonsensically.

    Lengths are in tokens, sizes in bytes. A value that may differ by layer is a number or, by
    layer, a tuple.
    """

    architecture: str | None
    general_type: str | None
    name: str | None
    size_label: str | None
    file_type: int | None
    context_length: int | None
    block_count: int | None
    embedding_length: int | None
    head_count: int | tuple[int, ...] | None
    head_count_kv: int | tuple[int, ...] | None
    key_length: int | None
    value_length: int | None
    key_length_mla: int | None
    """Set where K and V are compressed into one latent vector, cached as K alone."""
    sliding_window: int | None
    sliding_window_pattern: int | tuple[int, ...] | None
    """Every how many layers one is global, or by layer: 1 if it slides."""
    shared_kv_layers: int | None
    """Layers, the last ones, that reuse the KV cache of others."""
    full_attention_interval: int | None
    """Every how many layers one has attention; the others are recurrent."""
    expert_count: int | None
    expert_used_count: int | None
    rope_scaling_type: str | None
    rope_scaling_factor: float | None
    rope_original_context: int | None
    tokenizer_model: str | None
    vocabulary_size: int | None
    has_chat_template: bool
    template_has_tools: bool
    split_no: int | None
    split_count: int | None
    tensor_count: int
    parameters: int
    """Numbers in all tensors of this file."""
    needed_bytes: int
    """The least size of the file: it ends with the last tensor. A shorter one is truncated."""
    digest: str
    """SHA-256 of the metadata, arrays left out, in hexadecimal digits."""


def read_header(path: Path) -> Header:
    """Read the header of the GGUF file at `path`.

    Raises:
        GGUFError: The file cannot be read, is no GGUF file, or its header makes no sense.
    """
    try:
        # A pipe by this name would block the open, for ever.
        if not S_ISREG(path.stat().st_mode):
            raise GGUFError(path, "it is not a regular file")
        with path.open("rb", buffering=0) as file:
            return _read(Walk(file, path))
    except OSError as error:
        raise GGUFError(path, os_reason(error)) from error
    except ValueError as error:  # a path with a null character
        raise GGUFError(path, str(error)) from error


@dataclass(frozen=True, slots=True)
class _Array:
    """An array that was passed over: `position` is where its `count` items start."""

    kind: int
    count: int
    position: int


_Value = int | float | bytes | _Array


def _read(walk: Walk) -> Header:
    tensors, keys = _read_counts(walk)
    metadata = _read_metadata(walk, keys)
    digest = walk.digest
    sizes = read_tensors(walk, tensors, alignment=_alignment(walk, metadata))
    said = _Said(walk, metadata)
    template = metadata.get("tokenizer.chat_template")
    return Header(
        architecture=said.label("general.architecture"),
        general_type=said.label("general.type"),
        name=said.label("general.name"),
        size_label=said.label("general.size_label"),
        file_type=said.integer("general.file_type", least=0),
        context_length=said.integer("*.context_length"),
        block_count=said.integer("*.block_count"),
        embedding_length=said.integer("*.embedding_length"),
        head_count=said.by_layer("*.attention.head_count"),
        head_count_kv=said.by_layer("*.attention.head_count_kv"),
        key_length=said.integer("*.attention.key_length"),
        value_length=said.integer("*.attention.value_length"),
        key_length_mla=said.integer("*.attention.key_length_mla"),
        sliding_window=said.integer("*.attention.sliding_window"),
        sliding_window_pattern=said.by_layer("*.attention.sliding_window_pattern"),
        shared_kv_layers=said.integer("*.attention.shared_kv_layers", least=0),
        full_attention_interval=said.integer("*.full_attention_interval"),
        expert_count=said.integer("*.expert_count"),
        expert_used_count=said.integer("*.expert_used_count"),
        rope_scaling_type=said.label("*.rope.scaling.type"),
        rope_scaling_factor=said.real("*.rope.scaling.factor"),
        rope_original_context=said.integer("*.rope.scaling.original_context_length"),
        tokenizer_model=said.label("tokenizer.ggml.model"),
        vocabulary_size=said.length("tokenizer.ggml.tokens"),
        has_chat_template=isinstance(template, bytes),
        template_has_tools=isinstance(template, bytes) and b"tools" in template,
        split_no=said.integer("split.no", least=0),
        split_count=said.integer("split.count"),
        tensor_count=tensors,
        parameters=sizes.parameters,
        needed_bytes=sizes.needed_bytes,
        digest=digest,
    )


def _read_counts(walk: Walk) -> tuple[int, int]:
    """Return how many tensors and how many keys the file claims."""
    if walk.size < 4 or walk.take(4) != b"GGUF":
        walk.fail("it is not a GGUF file")
    version = walk.integer(U32)
    if version and not version & 0xFFFF:
        walk.fail("it is a big-endian file, made for another kind of processor")
    if version not in {2, 3}:
        walk.fail(f"it has GGUF version {version}, versions 2 and 3 can be read")
    tensors, keys = walk.integer(U64), walk.integer(U64)
    walk.count(tensors, each=24, of="tensors")
    walk.count(keys, each=13, of="keys")
    if tensors > MOST_TENSORS or keys > _MOST_KEYS:
        walk.fail(f"it claims {tensors} tensors and {keys} keys, which no model has")
    return tensors, keys


def _read_metadata(walk: Walk, keys: int) -> Mapping[str, _Value]:
    metadata: dict[str, _Value] = {}
    for _ in range(keys):
        key = _read_key(walk)
        if key in metadata:
            walk.fail(f"its key `{printable(key)}` is there twice")
        metadata[key] = _read_value(walk, key, walk.integer(U32))
    return metadata


def _read_key(walk: Walk) -> str:
    length = walk.integer(U64)
    if not 0 < length <= _LONGEST_NAME:
        walk.fail(f"it has a key of {length} bytes")
    try:
        return walk.take(length).decode()
    except UnicodeDecodeError:
        walk.fail("it has a key that is not UTF-8")


def _read_value(walk: Walk, key: str, kind: int) -> _Value:
    if kind == _STRING:
        # Templates are searched; nothing else that is long is of use, so it is not held.
        text = walk.text()
        return text if key == "tokenizer.chat_template" else text[:_LONGEST_NAME]
    if kind == _ARRAY:
        return _skip_array(walk, depth=1)
    if kind not in _NUMBERS:
        walk.fail(f"its key `{printable(key)}` has the unknown type {kind}")
    number = walk.number(_NUMBERS[kind])
    if kind != _BOOL:
        return number
    if number not in {0, 1}:
        walk.fail(f"its key `{printable(key)}` is neither true nor false")
    return bool(number)


def _skip_array(walk: Walk, *, depth: int) -> _Array:
    kind, claimed = walk.integer(U32), walk.integer(U64)
    array = _Array(kind, claimed, walk.position)
    if kind == _STRING:
        walk.skip_strings(walk.count(claimed, each=8, of="strings"))
    elif kind == _ARRAY and depth < _DEEPEST:
        for _ in range(walk.count(claimed, each=12, of="arrays")):
            _skip_array(walk, depth=depth + 1)
    elif kind in _NUMBERS:
        walk.skip(claimed * _NUMBERS[kind].size)
    else:
        walk.fail(f"it has an array of type {kind}, {depth} deep")
    return array


def _alignment(walk: Walk, metadata: Mapping[str, _Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        walk.fail("its alignment is not a power of two")
    return alignment


class _Said:
    """Looks values up by key, `*` standing for the architecture; nonsense reads as None."""

    def __init__(self, walk: Walk, metadata: Mapping[str, _Value]) -> None:
        self._walk = walk
        self._metadata = metadata
        self._architecture = ""
        self._architecture = self.label("general.architecture") or ""

    def _get(self, key: str) -> _Value | None:
        return self._metadata.get(key.replace("*", self._architecture, 1))

    def label(self, key: str) -> str | None:
        """Return a short text fit for a terminal."""
        value = self._get(key)
        if not isinstance(value, bytes):
            return None
        return printable(value.decode(errors="replace"))[:_LONGEST_LABEL].strip() or None

    def integer(self, key: str, *, least: int = 1) -> int | None:
        value = self._get(key)
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if least <= value <= _LARGEST_INTEGER else None

    def real(self, key: str) -> float | None:
        value = self._get(key)
        return value if isinstance(value, float) and math.isfinite(value) else None

    def length(self, key: str) -> int | None:
        value = self._get(key)
        return value.count if isinstance(value, _Array) else None

    def by_layer(self, key: str) -> int | tuple[int, ...] | None:
        """Return a number or, from an array in the file, one for each layer."""
        value = self._get(key)
        if not isinstance(value, _Array):
            return self.integer(key, least=0)
        if value.kind not in _NUMBERS or value.count > _LONGEST_TUPLE:
            return None
        self._walk.go(value.position)
        numbers = [self._walk.number(_NUMBERS[value.kind]) for _ in range(value.count)]
        sane = [n for n in numbers if isinstance(n, int) and 0 <= n <= _LARGEST_INTEGER]
        return tuple(sane) if len(sane) == len(numbers) else None
