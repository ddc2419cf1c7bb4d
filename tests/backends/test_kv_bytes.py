"""What a token of context takes, reckoned from the header."""

from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from backends.raw_gguf import BOOL, LLAMA, Value, array, header
from lmstrix.backends.llamacpp.gguf import Header, read_header
from lmstrix.backends.llamacpp.kv import kv_bytes_per_token

PER_HEAD = (16 + 16) * 2
"""Bytes of K and V of one head in `LLAMA` at f16: 64 numbers wide, 4 heads."""


def said(tmp_path: Path, architecture: str = "llama", /, **own: Value) -> Header:
    """Return the header of a model of 12 layers and 2 KV heads that says `own` of itself."""
    general = {key: value for key, value in LLAMA.items() if key.startswith("general.")}
    shape: dict[str, Value] = {
        "block_count": 12,
        "embedding_length": 64,
        "attention__head_count": 4,
        "attention__head_count_kv": 2,
    }
    named = {f"{architecture}.{k.replace('__', '.')}": v for k, v in (shape | own).items()}
    path = tmp_path / "x.gguf"
    path.write_bytes(header(general | {"general.architecture": architecture} | named))
    return read_header(path)


@pytest.mark.real
def test_gemma_takes_what_llama_cpp_was_seen_to_take(gemma_file: Path) -> None:
    """Three of its 18 layers are global: a KV head of 2 x 256 numbers each, 3.1 KiB measured."""
    gemma = read_header(gemma_file)

    assert kv_bytes_per_token(gemma, None) == 3072
    assert kv_bytes_per_token(gemma, "q8_0") == 1632


def test_tiny_models_take_what_their_writer_promises(tmp_path: Path) -> None:
    """Tests choose their memory by this formula; llama.cpp was seen to take just that."""
    heavy = write_tiny_gguf(tmp_path / "heavy.gguf", layers=8, kv_heads=8, head_size=128)

    assert kv_bytes_per_token(read_header(heavy), "f16") == 32 * 1024


@pytest.mark.parametrize(
    ("kv_type", "share"),
    [("f32", 2), ("bf16", 1), ("q8_0", 34 / 64), ("q5_1", 24 / 64), ("q4_0", 18 / 64)],
)
def test_kv_type_scales_the_bytes(tmp_path: Path, kv_type: str, share: float) -> None:
    """Blocks of 32 numbers carry scales of their own, so q8_0 is not half of f16."""
    model = said(tmp_path)

    assert kv_bytes_per_token(model, kv_type) == 12 * 2 * PER_HEAD * share


@pytest.mark.parametrize(
    ("architecture", "own", "global_layers"),
    [
        ("llama", {"attention__sliding_window": 4096}, 12),
        ("gemma2", {"attention__sliding_window": 4096}, 6),
        ("gemma3", {"attention__sliding_window": 512}, 2),
        ("gemma3", {}, 12),
        ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 4}, 3),
        ("gpt-oss", {"attention__sliding_window": 128, "attention__sliding_window_pattern": 0}, 0),
        ("llama4", {}, 3),
        ("gemma3n", {"attention__sliding_window": 512, "block_count": 30}, 4),
        ("smallthinker", {"attention__sliding_window": 512, "block_count": 5}, 2),
        ("exaone4", {"attention__sliding_window": 512, "block_count": 5}, 1),
        ("gemma4", {"attention__shared_kv_layers": 4}, 8),
        ("qwen3next", {}, 3),
        ("qwen35", {"full_attention_interval": 6}, 2),
    ],
)
def test_layers_that_do_not_grow_take_nothing_per_token(
    tmp_path: Path, architecture: str, own: dict[str, Value], global_layers: int
) -> None:
    """A window, another layer's cache and a recurrent state do not grow with the context."""
    model = said(tmp_path, architecture, **own)

    assert kv_bytes_per_token(model, None) == global_layers * 2 * PER_HEAD


def test_pattern_by_layer_says_which_slide(tmp_path: Path) -> None:
    """Newer files list the sliding layers one by one."""
    slides = array(BOOL, 12, bytes([1] * 11 + [0]))
    model = said(
        tmp_path,
        "gemma4",
        attention__sliding_window=512,
        attention__sliding_window_pattern=slides,
        attention__head_count_kv=[2] * 11 + [5],
    )

    assert kv_bytes_per_token(model, None) == 5 * PER_HEAD


def test_compressed_attention_caches_no_values(tmp_path: Path) -> None:
    """DeepSeek's V is part of the latent vector that is cached as K."""
    model = said(
        tmp_path,
        "deepseek2",
        attention__head_count_kv=1,
        attention__key_length=576,
        attention__value_length=512,
        attention__key_length_mla=192,
    )

    assert kv_bytes_per_token(model, None) == 12 * 576 * 2


def test_recurrent_model_takes_nothing_per_token(tmp_path: Path) -> None:
    """Mamba has no heads, and a state of fixed size."""
    model = said(tmp_path, "mamba", attention__head_count=0, attention__head_count_kv=0)

    assert kv_bytes_per_token(model, None) == 0


@pytest.mark.parametrize(
    "own",
    [
        {"block_count": "many"},
        {"block_count": 100_000},
        {"attention__head_count_kv": [2] * 11},
        {"attention__head_count": "four"},
    ],
    ids=["no layers", "too many layers", "list too short", "no head size"],
)
def test_header_that_does_not_tell_gives_no_figure(tmp_path: Path, own: dict[str, Value]) -> None:
    """No figure is better than one that was not read."""
    assert kv_bytes_per_token(said(tmp_path, **own), None) is None


def test_unknown_kv_type_gives_no_figure(tmp_path: Path) -> None:
    """Whether a type exists is the runtime's to say."""
    assert kv_bytes_per_token(said(tmp_path), "q7_9") is None
