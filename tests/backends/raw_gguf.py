"""GGUF bytes put together by hand: headers that no writer would write, and small valid ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from struct import pack
from typing import Final, NamedTuple

U8, I8, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 1, 4, 5, 6, 7, 8, 9, 10


class Raw(NamedTuple):
    """A value of a given type, already in bytes."""

    kind: int
    payload: bytes


class Tensor(NamedTuple):
    """An entry in the list of tensors."""

    name: str = "t"
    shape: Sequence[int] = (32,)
    kind: int = 0
    offset: int = 0


Value = str | bool | int | float | Sequence[str] | Sequence[int] | Raw

LLAMA: Final[dict[str, Value]] = {
    "general.architecture": "llama",
    "general.type": "model",
    "general.file_type": 15,
    "llama.context_length": 4096,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
}
"""Metadata of a model that is as good as any other."""


def text(value: str | bytes) -> bytes:
    """Return a string as GGUF stores it."""
    encoded = value.encode() if isinstance(value, str) else value
    return pack("<Q", len(encoded)) + encoded


def array(kind: int, count: int, payload: bytes = b"") -> Raw:
    """Return an array that claims `count` items, whatever it holds."""
    return Raw(ARRAY, pack("<IQ", kind, count) + payload)


def header(
    metadata: Mapping[str, Value] | Sequence[tuple[str | bytes, Value]] = LLAMA,
    *,
    tensors: Sequence[Tensor] = (),
    version: int = 3,
    keys: int | None = None,
    tensor_count: int | None = None,
) -> bytes:
    """Return a header; `keys` and `tensor_count` are what it claims, if not the truth."""
    pairs = list(metadata.items()) if isinstance(metadata, Mapping) else list(metadata)
    claimed = len(tensors) if tensor_count is None else tensor_count
    parts = [b"GGUF", pack("<IQQ", version, claimed, len(pairs) if keys is None else keys)]
    for key, value in pairs:
        kind, payload = _raw(value)
        parts += [text(key), pack("<I", kind), payload]
    for tensor in tensors:
        shape = pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
        parts += [text(tensor.name), shape, pack("<IQ", tensor.kind, tensor.offset)]
    return b"".join(parts)


def write_model(
    path: Path, metadata: Mapping[str, Value] | None = None, *, missing: int = 0
) -> Path:
    """Write a model of one tensor of 32 numbers to `path`, making its folder; return `path`.

    Args:
        path: The file.
        metadata: Added to `LLAMA`, or in place of its values.
        missing: Bytes left out at the end.
    """
    head = header(LLAMA | dict(metadata or {}), tensors=[Tensor()])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + bytes(-len(head) % 32 + 32 * 4 - missing))
    return path


def _raw(value: Value) -> Raw:
    match value:
        case Raw():
            return value
        case str():
            return Raw(STRING, text(value))
        case bool():
            return Raw(BOOL, pack("<B", value))
        case int():
            return Raw(U32, pack("<I", value))
        case float():
            return Raw(F32, pack("<f", value))
        case _:
            strings = b"".join(text(item) for item in value if isinstance(item, str))
            numbers = b"".join(pack("<i", item) for item in value if isinstance(item, int))
            return array(STRING if strings else I32, len(value), strings + numbers)
