"""Tiny GGUF files that llama.cpp really loads: random weights, a tokenizer for any text."""

import string
from pathlib import Path
from typing import Final

import gguf
import numpy as np
import numpy.typing as npt

_CONTROL: Final = ("<unk>", "<s>", "</s>")
_BYTES: Final = tuple(f"<0x{byte:02X}>" for byte in range(256))
_LETTERS: Final = ("▁", *string.printable[:95].replace(" ", ""))
_TOKENS: Final = (*_CONTROL, *_BYTES, *_LETTERS)
_SPOKEN: Final = slice(len(_CONTROL) + len(_BYTES), None)

Weights = npt.NDArray[np.float32]


def write_tiny_gguf(
    path: Path,
    *,
    layers: int = 2,
    kv_heads: int = 2,
    head_size: int = 32,
    embedding: int = 64,
    context_length: int = 4096,
    name: str = "tiny",
    seed: int = 0,
) -> Path:
    """Write a llama model with random weights to `path`, and return `path`.

    Its KV cache takes `layers * kv_heads * head_size * 2 (K and V) * 2 (f16)` bytes a token:
    512 by default, 32 KiB with `layers=8, kv_heads=8, head_size=128`. The file stays small
    whatever that is: 0.3 MB by default, 4.6 MB in the second case.

    Every ASCII character but the blank is one token, `▁` stands for the blank, any other text
    falls back to bytes. Generated text is printable ASCII, and greedy decoding never ends by
    itself: the rows of control and byte tokens in the output matrix are zero.

    Args:
        path: The file to write; its folder exists.
        layers: Transformer blocks.
        kv_heads: Heads of K and V; there are as many query heads.
        head_size: Numbers in one head; even.
        embedding: Width of the model; it need not be heads times head size.
        context_length: The context that the file declares, in tokens.
        name: Value of `general.name`.
        seed: Of the weights; equal arguments give equal bytes.
    """
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(context_length)
    writer.add_block_count(layers)
    writer.add_embedding_length(embedding)
    writer.add_feed_forward_length(2 * embedding)
    writer.add_head_count(kv_heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_size)
    writer.add_value_length(head_size)
    writer.add_rope_dimension_count(head_size)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokenizer(writer)
    _add_tensors(writer, layers=layers, width=kv_heads * head_size, embedding=embedding, seed=seed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter) -> None:
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * len(_BYTES) + [gguf.TokenType.NORMAL] * len(_LETTERS)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(_TOKENS)
    writer.add_token_scores([0.0] * len(_TOKENS))
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _add_tensors(
    writer: gguf.GGUFWriter, *, layers: int, width: int, embedding: int, seed: int
) -> None:
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> Weights:
        scale = np.float32(columns**-0.5)
        return random.standard_normal((rows, columns), dtype=np.float32) * scale

    def add(tensor: str, weights: Weights) -> None:
        writer.add_tensor(f"{tensor}.weight", weights.astype(np.float16))

    def add_norm(tensor: str) -> None:
        writer.add_tensor(f"{tensor}.weight", np.ones(embedding, dtype=np.float32))

    add("token_embd", matrix(len(_TOKENS), embedding))
    for layer in range(layers):
        block = f"blk.{layer}"
        add_norm(f"{block}.attn_norm")
        for part in ("attn_q", "attn_k", "attn_v"):
            add(f"{block}.{part}", matrix(width, embedding))
        add(f"{block}.attn_output", matrix(embedding, width))
        add_norm(f"{block}.ffn_norm")
        for part in ("ffn_gate", "ffn_up"):
            add(f"{block}.{part}", matrix(2 * embedding, embedding))
        add(f"{block}.ffn_down", matrix(embedding, 2 * embedding))
    add_norm("output_norm")
    output = np.zeros((len(_TOKENS), embedding), dtype=np.float32)
    output[_SPOKEN] = matrix(len(_LETTERS), embedding)
    add("output", output)
