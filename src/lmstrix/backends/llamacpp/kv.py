"""What one more token of context takes in llama.cpp's KV cache, from the header alone.

The rules are llama.cpp's: `n_embd_k_gqa`, `set_swa_pattern` and `has_kv` in src/llama-hparams.cpp,
the default periods in src/models/*.cpp. A layer with a sliding window has a cache of fixed size,
and a recurrent one none, so they take nothing per token. Compute buffers, such as the attention
mask, come on top. gemma-3-270m: 3 072 bytes here, 3.1 KiB a token seen in the process's memory.
"""

from typing import Final

from lmstrix.backends.llamacpp.gguf import Header

BYTES_PER_NUMBER: Final = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
    "iq4_nl": 18 / 32,
}
"""Of each type a KV cache can have: bytes of a block by numbers in a block."""

_DEFAULT_TYPE: Final = "f16"
_MOST_LAYERS: Final = 512
"""`LLAMA_MAX_LAYERS` in llama.cpp."""

_PERIODS: Final = {
    "afmoe": 4,
    "cohere2": 4,
    "cohere2moe": 4,
    "exaone-moe": 4,
    "exaone4": 4,
    "gemma2": 2,
    "gemma3": 6,
    "gemma3n": 5,
    "gpt-oss": 2,
    "llama4": 4,
    "olmo2": 4,
    "plamo3": 8,
    "smallthinker": 4,
}
"""Every how many layers one is global, where the file names a window but no pattern."""

_GLOBAL_FIRST: Final = frozenset({"cohere2moe", "smallthinker"})
"""In these the first layer of a period is the global one, elsewhere the last."""

_CHUNKED: Final = frozenset({"llama4"})
"""These attend in chunks even if the file names no window."""

_CACHED_LAYERS: Final = {"gemma3n": 20}
"""How many layers have a cache of their own, where llama.cpp knows it and the file does not."""

_RECURRENT: Final = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
"""Every how many layers one has attention, unless the file says."""


def kv_bytes_per_token(header: Header, kv_type: str | None) -> float | None:
    """Return the bytes that a token takes in the KV cache, or None if the header does not tell.

    An architecture whose windows are not known here counts as if every layer were global: the
    result is then the most that a token can take.

    Args:
        header: Of the model file, or of its first part.
        kv_type: Type of the cache, for K and V alike; None is llama.cpp's default, f16.
    """
    number = BYTES_PER_NUMBER.get(kv_type or _DEFAULT_TYPE)
    heads = _heads_by_layer(header)
    if number is None or heads is None:
        return None
    growing = sum(count for layer, count in enumerate(heads) if _grows(header, layer))
    if not growing:
        return 0.0
    size = _numbers_per_head(header)
    return None if size is None else growing * size * number


def window_bytes(header: Header, kv_type: str | None) -> int:
    """Return the bytes that the full windows of all sliding layers take; 0 if that is not known.

    That is what one context checkpoint of llama.cpp holds: 7.5 MiB of gemma-3-270m, as measured.
    """
    number = BYTES_PER_NUMBER.get(kv_type or _DEFAULT_TYPE)
    heads, size = _heads_by_layer(header), _numbers_per_head(header)
    if number is None or heads is None or size is None or header.sliding_window is None:
        return 0
    sliding = sum(
        count
        for layer, count in enumerate(heads)
        if _has_own_cache(header, layer) and _slides(header, layer)
    )
    return round(sliding * size * number * header.sliding_window)


def _heads_by_layer(header: Header) -> tuple[int, ...] | None:
    layers = header.block_count
    if layers is None or layers > _MOST_LAYERS:
        return None
    heads = header.head_count if header.head_count_kv is None else header.head_count_kv
    if isinstance(heads, int):
        return (heads,) * layers
    return heads if heads is not None and len(heads) == layers else None


def _numbers_per_head(header: Header) -> int | None:
    """Return how many numbers one head caches for one token."""
    heads, default = header.head_count, None
    first = heads[0] if isinstance(heads, tuple) and heads else heads
    if isinstance(first, int) and first and header.embedding_length:
        default = header.embedding_length // first
    key, value = header.key_length or default, header.value_length or default
    if header.key_length_mla is not None:
        # V is a part of the latent vector that is cached as K.
        return key
    return None if key is None or value is None else key + value


def _grows(header: Header, layer: int) -> bool:
    """Whether this layer's cache grows with the context."""
    return (
        _has_own_cache(header, layer)
        and not _is_recurrent(header, layer)
        and not _slides(header, layer)
    )


def _has_own_cache(header: Header, layer: int) -> bool:
    layers = header.block_count or 0
    cached = _CACHED_LAYERS.get(header.architecture or "", layers)
    return layer < min(cached, layers - (header.shared_kv_layers or 0))


def _is_recurrent(header: Header, layer: int) -> bool:
    interval = header.full_attention_interval or _RECURRENT.get(header.architecture or "", 1)
    return (layer + 1) % interval != 0


def _slides(header: Header, layer: int) -> bool:
    architecture = header.architecture or ""
    if header.sliding_window is None and architecture not in _CHUNKED:
        return False
    pattern = header.sliding_window_pattern
    if isinstance(pattern, tuple):
        return len(pattern) == header.block_count and bool(pattern[layer])
    period = pattern if pattern is not None else _PERIODS.get(architecture, 1)
    if period == 0:
        return True
    return layer % period != (0 if architecture in _GLOBAL_FIRST else period - 1)
