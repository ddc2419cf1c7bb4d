"""What `read_header` makes of files that lie: an error at once, whatever they claim."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import pack

import pytest

from backends import mutated_headers
from backends.raw_gguf import (
    ARRAY,
    BOOL,
    LLAMA,
    STRING,
    U8,
    U64,
    Raw,
    Tensor,
    array,
    header,
    text,
)
from lmstrix.backends.llamacpp.gguf import read_header
from lmstrix.backends.llamacpp.walk import GGUFError

HUGE = 2**60


def nested(depth: int) -> Raw:
    """Return arrays within arrays."""
    return array(ARRAY, 1, pack("<IQ", ARRAY, 1) * (depth - 1) + pack("<IQ", U8, 0))


BROKEN = {
    "empty": b"",
    "three bytes": b"GGU",
    "other file": b"PK\x03\x04" + bytes(100),
    "magic alone": b"GGUF",
    "version 1": header(version=1),
    "version 4": header(version=4),
    "version 0": header(version=0),
    "huge key count": header(keys=HUGE),
    "huge tensor count": header(tensor_count=HUGE),
    "one key too many": header(keys=len(LLAMA) + 1),
    "one tensor too many": header(tensor_count=1),
    "string array of 2**60": header(LLAMA | {"t": array(STRING, HUGE)}),
    "number array of 2**60": header(LLAMA | {"t": array(U64, HUGE)}),
    "number array of 2**63": header(LLAMA | {"t": array(U8, 2**63)}),
    "array array of 2**60": header(LLAMA | {"t": array(ARRAY, HUGE)}),
    "string of 2**64 - 1": header(LLAMA | {"t": Raw(STRING, pack("<Q", 2**64 - 1))}),
    "token of 2**64 - 1": header(LLAMA | {"t": array(STRING, 1, pack("<Q", 2**64 - 1))}),
    "token of 2**62": header(LLAMA | {"t": array(STRING, 2, pack("<QQ", 2**62, 0))}),
    "key of 2**60": header(keys=len(LLAMA) + 1) + pack("<Q", HUGE),
    "empty key": header({"": 1}),
    "key not text": header([(b"\xff\xfe", 1)]),
    "key twice": header([("a", 1), ("a", 2)]),
    "unknown type": header({"a": Raw(13, b"")}),
    "unknown array type": header({"a": array(13, 0)}),
    "neither true nor false": header({"a": Raw(BOOL, b"\x02")}),
    "nested too deep": header({"a": nested(5)}),
    "nested without end": header({"a": nested(5000)}),
    "alignment 0": header({"general.alignment": 0}),
    "alignment 48": header({"general.alignment": 48}),
    "alignment text": header({"general.alignment": "32"}),
    "five dimensions": header(tensors=[Tensor(shape=(1, 1, 1, 1, 1))]),
    "long tensor name": header(tensors=[Tensor(name="t" * 2000)]),
}


@contextmanager
def small_memory() -> Iterator[None]:
    """Fail if more than 32 MiB are held at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024**2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_header_is_an_error(tmp_path: Path, content: bytes) -> None:
    """Models come from strangers; a scan must survive every file and name the broken ones."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)

    with pytest.raises(GGUFError) as caught:
        read_header(path)

    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)


def test_claim_without_room_is_refused_before_any_of_it_is_walked(tmp_path: Path) -> None:
    """A string takes eight bytes at least, so the file's size says how many there can be."""
    path = tmp_path / "broken.gguf"
    path.write_bytes(header({"t": array(STRING, 1000, text("a") * 400)}))

    with pytest.raises(GGUFError, match="1000 strings, more than fit"):
        read_header(path)


@pytest.mark.parametrize("length", range(len(header()) - 1))
def test_header_cut_short_anywhere_is_an_error(tmp_path: Path, length: int) -> None:
    """Downloads stop anywhere."""
    path = tmp_path / "short.gguf"
    path.write_bytes(header()[:length])

    with pytest.raises(GGUFError):
        read_header(path)


def test_big_endian_file_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """Its owner should look for the other download, not for a repair."""
    path = tmp_path / "big.gguf"
    path.write_bytes(b"GGUF" + pack(">IQQ", 3, 0, 0))

    with pytest.raises(GGUFError, match="big-endian"):
        read_header(path)


@pytest.mark.parametrize(
    "content",
    [
        header(tensor_count=2**25),
        header(tensor_count=2**17 + 1),
        header(keys=2**24),
        header([(f"k{n}", 1) for n in range(8193)]),
        header({"a": array(STRING, 2**25)}),
        header({"a": array(ARRAY, 2**25)}),
        header([(f"k{n}", Raw(STRING, pack("<Q", 0))) for n in range(8000)], keys=9000),
    ],
    ids=["tensors", "many tensors", "keys", "many keys", "strings", "arrays", "empty keys"],
)
def test_claims_that_fit_into_a_huge_file_are_bounded_too(tmp_path: Path, content: bytes) -> None:
    """A sparse file costs its author nothing, and has room for any number of items."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(content)
    os.truncate(path, 2**36)

    with small_memory(), pytest.raises(GGUFError):
        read_header(path)


def test_long_string_is_not_held(tmp_path: Path) -> None:
    """A string costs its author eight bytes, whatever length it claims."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(header([("a", Raw(STRING, pack("<Q", 200 * 2**20)))]))
    os.truncate(path, 2**30)

    with small_memory():
        found = read_header(path)

    assert found.architecture is None


def test_strings_far_apart_cannot_have_the_whole_file_read(tmp_path: Path) -> None:
    """Each length lies behind five MiB of text: reading around them all would take 5 GB."""
    path, stride = tmp_path / "sparse.gguf", 5 * 2**20
    content = header({"a": array(STRING, 1000)})
    with path.open("wb") as file:
        file.write(content)
        for number in range(1000):
            file.seek(len(content) + number * (stride + 8))
            file.write(pack("<Q", stride))
        file.truncate(len(content) + 1000 * (stride + 8))

    with small_memory(), pytest.raises(GGUFError, match="takes more than"):
        read_header(path)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on a process are POSIX")
def test_mutated_headers_end_in_a_header_or_an_error(tmp_path: Path) -> None:
    """Never in a hang, a crash or a large allocation: the process has 1 GiB and two minutes."""
    source = tmp_path / "source.gguf"
    tokens = array(STRING, 300, b"".join(text(f"token {number}") for number in range(300)))
    said = LLAMA | {
        "tokenizer.ggml.tokens": tokens,
        "llama.attention.head_count_kv": [2, 2],
        "tokenizer.chat_template": "{{ tools }}",
    }
    source.write_bytes(header(said, tensors=[Tensor(), Tensor("u", (64, 2), 8, 128)]))

    ended = subprocess.run(
        [sys.executable, mutated_headers.__file__, source, "2000", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    headers, errors, peak = (int(figure) for figure in ended.stdout.split())
    assert headers + errors == 2000
    assert headers > 100
    assert errors > 1000
    assert peak < 32 * 1024**2
