"""A header is read once, in this process and the next, until its file changes."""

import json
import os
from pathlib import Path

import pytest

from backends.raw_gguf import LLAMA, Value, header, write_model
from lmstrix.backends.llamacpp.gguf import read_header
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.backends.llamacpp.walk import GGUFError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where headers outlive the process."""
    return tmp_path / "cache" / "headers.json"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model whose header has a value of every type there is."""
    more: dict[str, Value] = {
        "llama.attention.head_count_kv": [2, 1],
        "llama.rope.scaling.factor": 2.5,
        "tokenizer.chat_template": "{{ tools }}",
    }
    return write_model(tmp_path / "m.gguf", more)


def falsify(path: Path) -> None:
    """Put other content of equal size and time into `path`: only a reader would notice."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"llama", b"other"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_unchanged_file_is_not_read_again(file: Path, model: Path) -> None:
    """Reading a vocabulary takes milliseconds, a folder of models seconds."""
    cache = HeaderCache(file)
    first = cache.read(model)
    falsify(model)

    assert cache.read(model) == first


def test_unchanged_file_is_not_read_in_the_next_process_either(file: Path, model: Path) -> None:
    """Each command is a process of its own."""
    cache = HeaderCache(file)
    first = cache.read(model)
    cache.save()
    falsify(model)

    assert HeaderCache(file).read(model) == first


def test_remembered_header_equals_the_one_read(file: Path, model: Path) -> None:
    """Nothing may be lost or change its type on the way through the file."""
    cache = HeaderCache(file)
    cache.read(model)
    cache.save()
    fresh = read_header(model)

    remembered = HeaderCache(file).read(model)

    assert remembered == fresh
    assert remembered.head_count_kv == (2, 1)
    assert remembered.rope_scaling_factor == 2.5


@pytest.mark.parametrize("change", ["size", "time"])
def test_changed_file_is_read_again(file: Path, model: Path, change: str) -> None:
    """A download goes on, a model is replaced."""
    cache = HeaderCache(file)
    cache.read(model)
    falsify(model)
    if change == "size":
        times = model.stat()
        with model.open("ab") as longer:
            longer.write(b"\0")
        os.utime(model, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        os.utime(model, ns=(1, 1))

    assert cache.read(model).architecture == "other"


def test_cache_without_a_file_remembers_for_this_process(model: Path) -> None:
    """Not every caller has a home."""
    cache = HeaderCache()
    first = cache.read(model)
    cache.save()
    falsify(model)

    assert cache.read(model) == first


def corrupt_byte(content: bytes) -> bytes:
    """Change a figure in the middle of the second line."""
    place = content.index(b"4096")
    return content[:place] + b"4097" + content[place + 4 :]


@pytest.mark.parametrize(
    "spoil",
    [
        corrupt_byte,
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b'"lmstrix_headers": 1', b'"lmstrix_headers": 999'),
        lambda content: content.replace(b'"digest"', b'"another"', 1),
        lambda _: b"",
        lambda _: b"\xff\xfe\n\x00",
        lambda _: b"[]\n[]",
        lambda _: json.dumps({"models": []}).encode(),
    ],
    ids=["bit rot", "cut", "version", "fields", "empty", "binary", "list", "foreign"],
)
def test_file_that_cannot_be_trusted_counts_as_empty(
    file: Path, model: Path, spoil: object
) -> None:
    """It is a cache: what it says must be right, and that it says anything is luck."""
    assert callable(spoil)
    cache = HeaderCache(file)
    cache.read(model)
    cache.save()
    file.write_bytes(spoil(file.read_bytes()))
    falsify(model)

    spoiled = HeaderCache(file)

    assert spoiled.read(model).architecture == "other"
    spoiled.save()
    assert HeaderCache(file).read(model).architecture == "other"


def test_cache_that_cannot_be_written_is_no_failure(tmp_path: Path, model: Path) -> None:
    """A full or read-only disk costs time, not models."""
    in_the_way = tmp_path / "file"
    in_the_way.write_bytes(b"")
    cache = HeaderCache(in_the_way / "headers.json")

    cache.read(model)
    cache.save()

    assert in_the_way.read_bytes() == b""


def test_failed_write_leaves_no_draft_behind(file: Path, model: Path) -> None:
    """A folder in the file's place cannot be replaced; the attempts must not pile up."""
    file.mkdir(parents=True)
    cache = HeaderCache(file)
    cache.read(model)

    cache.save()

    assert list(file.parent.iterdir()) == [file]


def test_nothing_new_is_nothing_written(file: Path, model: Path) -> None:
    """A scan that found nothing new leaves the disk alone."""
    cache = HeaderCache(file)
    cache.read(model)
    cache.save()
    file.unlink()

    again = HeaderCache(file)
    cache.save()
    again.save()

    assert not file.exists()


def test_deleted_models_are_forgotten_and_others_kept(
    file: Path, model: Path, tmp_path: Path
) -> None:
    """The cache does not grow for ever, and two sets of folders can share it."""
    gone, elsewhere, new = (
        write_model(tmp_path / f"{name}.gguf") for name in ("gone", "elsewhere", "new")
    )
    cache = HeaderCache(file)
    for path in (gone, elsewhere):
        cache.read(path)
    cache.save()
    gone.unlink()

    later = HeaderCache(file)
    later.read(new)
    later.save()

    stored = json.loads(file.read_bytes().splitlines()[1])
    assert set(stored) == {str(elsewhere), str(new)}


def test_broken_file_is_an_error_every_time(file: Path, tmp_path: Path) -> None:
    """Failures are not remembered: what was wrong may be mended without a change of the file."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(header(LLAMA, keys=99))
    cache = HeaderCache(file)

    for path in (broken, broken, tmp_path / "missing.gguf"):
        with pytest.raises(GGUFError):
            cache.read(path)
