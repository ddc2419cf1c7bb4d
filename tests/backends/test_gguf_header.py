"""What `read_header` makes of files that are in order."""

import os
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

import gguf
import pytest

from backends.gguf_files import write_tiny_gguf
from backends.raw_gguf import (
    ARRAY,
    BOOL,
    F32,
    LLAMA,
    STRING,
    U32,
    U64,
    Raw,
    Tensor,
    Value,
    array,
    header,
    text,
)
from lmstrix.backends.llamacpp.gguf import Header, read_header
from lmstrix.backends.llamacpp.walk import GGUFError


def read(tmp_path: Path, content: bytes) -> Header:
    """Return the header of a file with this content."""
    path = tmp_path / "x.gguf"
    path.write_bytes(content)
    return read_header(path)


def said(tmp_path: Path, **metadata: Value) -> Header:
    """Return the header of a llama model that says this too, `__` standing for a dot."""
    named = {key.replace("__", "."): value for key, value in metadata.items()}
    return read(tmp_path, header(LLAMA | named))


def package_values(path: Path) -> dict[str, Any]:
    """Return what the `gguf` package reads from a file, arrays as their lengths."""
    reader = gguf.GGUFReader(path)
    values: dict[str, Any] = {}
    for field in reader.fields.values():
        listed = field.types[0] == gguf.GGUFValueType.ARRAY if field.types else False
        values[field.name] = len(field.data) if listed else field.contents()
    values["tensor_count"] = len(reader.tensors)
    values["parameters"] = sum(int(tensor.n_elements) for tensor in reader.tensors)
    last = reader.tensors[-1]
    values["end"] = int(last.data_offset) + int(last.n_bytes)
    return values


def test_header_has_the_values_that_the_gguf_package_reads(tmp_path: Path) -> None:
    """The package is llama.cpp's own reader; ours may only be faster."""
    path = write_tiny_gguf(tmp_path / "tiny.gguf", layers=3, kv_heads=4, context_length=8192)
    theirs = package_values(path)

    ours = read_header(path)

    assert ours.architecture == theirs["general.architecture"] == "llama"
    assert ours.name == theirs["general.name"]
    assert ours.file_type == theirs["general.file_type"]
    assert ours.context_length == theirs["llama.context_length"] == 8192
    assert ours.block_count == theirs["llama.block_count"] == 3
    assert ours.embedding_length == theirs["llama.embedding_length"]
    assert ours.head_count == theirs["llama.attention.head_count"]
    assert ours.head_count_kv == theirs["llama.attention.head_count_kv"] == 4
    assert ours.key_length == theirs["llama.attention.key_length"]
    assert ours.value_length == theirs["llama.attention.value_length"]
    assert ours.tokenizer_model == theirs["tokenizer.ggml.model"]
    assert ours.vocabulary_size == theirs["tokenizer.ggml.tokens"]
    assert ours.tensor_count == theirs["tensor_count"]
    assert ours.parameters == theirs["parameters"]
    assert ours.needed_bytes == theirs["end"] == path.stat().st_size


@pytest.mark.real
def test_header_of_a_real_model_is_read_past_its_vocabulary(gemma_file: Path) -> None:
    """Its file type comes behind 262 144 tokens, in a header of 6.5 MB."""
    read_one = read_header(gemma_file)

    assert read_one.architecture == "gemma3"
    assert read_one.name == "Gemma 3 270m"
    assert read_one.size_label == "270M"
    assert read_one.file_type == 15
    assert read_one.context_length == 32_768
    assert read_one.head_count_kv == 1
    assert read_one.sliding_window == 512
    assert read_one.vocabulary_size == 262_144
    assert read_one.has_chat_template is False
    assert read_one.needed_bytes == gemma_file.stat().st_size


def test_vocabulary_is_passed_over_whatever_lies_across_a_window(tmp_path: Path) -> None:
    """The file is read piece by piece: a length may be cut in two, a token longer than a piece."""
    tokens = [b"x" * length for length in [*range(300)] * 30] + [b"y" * 100_000] * 3 + [b"z"] * 9000
    metadata: list[tuple[str | bytes, Value]] = [
        ("general.architecture", "llama"),
        ("tokenizer.ggml.tokens", array(STRING, len(tokens), b"".join(map(text, tokens)))),
        ("llama.context_length", 4096),
    ]

    found = read(tmp_path, header(metadata))

    assert found.vocabulary_size == len(tokens)
    assert found.context_length == 4096


def test_token_that_spells_a_key_is_not_taken_for_one(tmp_path: Path) -> None:
    """Token texts are the file's author's to choose: only the walk tells them from keys."""
    fake = text("llama.context_length") + pack("<II", U32, 999_999)

    found = said(tmp_path, tokenizer__ggml__tokens=array(STRING, 1, text(fake)))

    assert found.context_length == 4096


def test_version_2_is_read_like_version_3(tmp_path: Path) -> None:
    """Files of 2023 are still around, and llama.cpp loads them."""
    older, newer = (read(tmp_path, header(version=version)) for version in (2, 3))

    assert older.context_length == 4096
    assert replace(older, digest=newer.digest) == newer


def test_values_by_layer_are_read_from_short_arrays(tmp_path: Path) -> None:
    """Models differ by layer in heads and windows, and their memory is reckoned from that."""
    windows = array(BOOL, 3, bytes([1, 1, 0]))

    found = said(
        tmp_path,
        llama__attention__head_count_kv=[4, 0, 8],
        llama__attention__sliding_window_pattern=windows,
    )

    assert found.head_count_kv == (4, 0, 8)
    assert found.sliding_window_pattern == (1, 1, 0)


def test_values_by_layer_may_lie_far_in_front(tmp_path: Path) -> None:
    """They are read last, when the walk is past a vocabulary that fills the memory it has."""
    tokens = array(STRING, 20_000, text("a longer token") * 20_000)

    found = said(
        tmp_path, llama__attention__head_count_kv=[4, 8], tokenizer__ggml__tokens=tokens, z=1
    )

    assert found.head_count_kv == (4, 8)


@pytest.mark.parametrize(
    "heads",
    [[1] * 5000, [1, -1], array(F32, 1, pack("<f", 1.0)), array(STRING, 1, text("1"))],
    ids=["too many", "negative", "not whole", "not numbers"],
)
def test_array_that_is_no_number_by_layer_reads_as_unknown(tmp_path: Path, heads: Value) -> None:
    """Nonsense in one key is no reason to lose the model."""
    assert said(tmp_path, llama__attention__head_count_kv=heads).head_count_kv is None


@pytest.mark.parametrize(
    "context",
    [0, Raw(U64, pack("<Q", 2**64 - 1)), 1.5, "4096", True],
    ids=["zero", "huge", "not whole", "text", "truth"],
)
def test_number_that_is_none_reads_as_unknown(tmp_path: Path, context: Value) -> None:
    """What is unknown is null, never 0, and no number breaks a database."""
    assert said(tmp_path, llama__context_length=context).context_length is None


def test_template_that_mentions_tools_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    """Whether a model was trained for tools shows in its chat template alone."""
    plain = said(tmp_path, tokenizer__chat_template="{{ messages }}")
    tools = said(tmp_path, tokenizer__chat_template="{% if tools %}{{ tools }}{% endif %}")

    assert (plain.has_chat_template, plain.template_has_tools) == (True, False)
    assert (tools.has_chat_template, tools.template_has_tools) == (True, True)


def test_string_longer_than_is_held_is_passed_over(tmp_path: Path) -> None:
    """Some files carry a tokenizer of 30 MB as one string, before what matters."""
    found = said(tmp_path, tokenizer__huggingface__json="x" * 3_000_000, split__count=7)

    assert found.split_count == 7


def test_label_cannot_command_a_terminal(tmp_path: Path) -> None:
    """Names are shown as they are, and the file's author chose them."""
    found = said(tmp_path, general__name="a\x1b[2Jb" + "c" * 5000, general__size_label=" ")

    assert found.name is not None
    assert found.name.startswith("a\ufffd[2Jb")
    assert len(found.name) == 256
    assert found.size_label is None


def test_label_that_is_not_text_does_not_lose_the_model(tmp_path: Path) -> None:
    """llama.cpp loads such files."""
    name = Raw(STRING, text(b"caf\xe9"))

    assert said(tmp_path, general__name=name).name == "caf\ufffd"


def test_architecture_may_come_last(tmp_path: Path) -> None:
    """Writers put it first by habit, not by rule."""
    found = read(tmp_path, header([*LLAMA.items()][::-1]))

    assert found.context_length == 4096


def test_needed_bytes_are_the_end_of_the_last_tensor(tmp_path: Path) -> None:
    """A download that stopped is told by it, so it must be right to the byte."""
    tensors = [Tensor("big", (64, 3), 8, 64), Tensor("small", (5,), 0, 0)]
    content = header(LLAMA | {"general.alignment": 64}, tensors=tensors)

    found = read(tmp_path, content)

    assert found.needed_bytes == (len(content) + 63) // 64 * 64 + 64 + 6 * 34
    assert found.parameters == 64 * 3 + 5


def test_tensor_of_a_type_made_since_is_only_known_to_start(tmp_path: Path) -> None:
    """A newer llama.cpp may load it: it must not be called truncated."""
    content = header(tensors=[Tensor("new", (32,), 999, 32)])

    assert read(tmp_path, content).needed_bytes == (len(content) + 31) // 32 * 32 + 32


def test_digest_follows_the_metadata_and_not_the_vocabulary(tmp_path: Path) -> None:
    """It stands for the model in fingerprints; arrays are passed over unread."""
    base = said(tmp_path).digest

    assert said(tmp_path).digest == base
    assert said(tmp_path, general__name="other").digest != base
    tokens = [said(tmp_path, t=array(STRING, 1, text(token))).digest for token in ("a", "b")]
    assert tokens[0] == tokens[1] != base


def test_array_within_arrays_is_passed_over(tmp_path: Path) -> None:
    """The format allows it, though llama.cpp writes none."""
    inner = pack("<IQ", STRING, 2) + text("a") + text("b")
    outer = array(ARRAY, 2, inner + pack("<IQ", U32, 1) + pack("<I", 9))

    assert read(tmp_path, header({"nested": outer} | LLAMA)).context_length == 4096


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would hang a scan for ever."""
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)

    with pytest.raises(GGUFError) as caught:
        read_header(pipe)

    assert caught.value.reason == "it is not a regular file"


def test_file_that_is_not_there_is_a_model_file_error(tmp_path: Path) -> None:
    """No exception of the operating system crosses the adapter."""
    with pytest.raises(GGUFError) as caught:
        read_header(tmp_path / "none.gguf")

    assert caught.value.code == "model-file"
    assert caught.value.reason == "no such file or directory"
