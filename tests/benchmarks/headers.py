"""Times our GGUF header reader against the `gguf` package: `headers.py [FILE…]`.

Without a file, the packaged gemma-3-270m is assembled in a temporary folder. For each file both
readers run once, in this process, and must agree; ours runs first, so it has the colder disk.
Then a folder of small files is scanned, first new, then unchanged.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

from lmstrix.backends.llamacpp.files import HeaderCache, find_models
from lmstrix.backends.llamacpp.gguf import Header, read_header
from lmstrix.backends.llamacpp.packaged import assemble_demo_model

_SMALL_FILES: Final = 1000
_KEYS: Final = {
    "architecture": "general.architecture",
    "name": "general.name",
    "size_label": "general.size_label",
    "file_type": "general.file_type",
    "context_length": "*.context_length",
    "block_count": "*.block_count",
    "embedding_length": "*.embedding_length",
    "head_count": "*.attention.head_count",
    "head_count_kv": "*.attention.head_count_kv",
    "key_length": "*.attention.key_length",
    "value_length": "*.attention.value_length",
    "sliding_window": "*.attention.sliding_window",
    "tokenizer_model": "tokenizer.ggml.model",
}


def main(files: Sequence[Path]) -> int:
    """Print the tables; return 1 if the readers disagree on a file, else 0."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = files or [assemble_demo_model(folder)]
        print(f"{'file':40} {'gguf':>9} {'ours':>10} {'ratio':>7} {'cached':>10}  same values")
        agreed = [_compare(file, folder) for file in chosen]
        _scan(folder / "small")
    return 0 if all(agreed) else 1


def _compare(file: Path, folder: Path) -> bool:
    header, ours = _time(lambda: read_header(file))
    reader, theirs = _time(lambda: gguf.GGUFReader(file))
    first = HeaderCache(folder / "headers.json")
    first.read(file)
    first.save()
    _, cached = _time(lambda: HeaderCache(folder / "headers.json").read(file))
    same = _agree(header, reader)
    print(
        f"{file.name:40} {theirs:7.2f} s {ours * 1e3:7.1f} ms {theirs / ours:6.0f}x "
        f"{cached * 1e3:7.2f} ms  {'yes' if same else 'NO'}"
    )
    return same


def _agree(header: Header, reader: gguf.GGUFReader) -> bool:
    values = {name: field.contents for name, field in reader.fields.items()}
    for own, key in _KEYS.items():
        contents = values.get(key.replace("*", header.architecture or ""))
        if getattr(header, own) != (None if contents is None else contents()):
            return False
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    return header.vocabulary_size == (tokens and len(tokens.data)) and header.tensor_count == len(
        reader.tensors
    )


def _scan(folder: Path) -> None:
    """Time a scan of small files against listing them."""
    folder.mkdir()
    _write_small(folder / "model-0000.gguf")
    content = (folder / "model-0000.gguf").read_bytes()
    for number in range(1, _SMALL_FILES):
        (folder / f"model-{number:04}.gguf").write_bytes(content)
    cache = folder / "headers.json"
    _, listing = _time(lambda: [entry.stat() for entry in os.scandir(folder)])
    found, new = _time(lambda: find_models([folder], HeaderCache(cache)))
    _, again = _time(lambda: find_models([folder], HeaderCache(cache)))
    print(
        f"\n{len(found.models)} small files, more than listing them: "
        f"new {(new - listing) / _SMALL_FILES * 1e3:.3f} ms a file, "
        f"unchanged {(again - listing) / _SMALL_FILES * 1e3:.3f} ms a file"
    )


def _write_small(path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_head_count(4)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"token {number}" for number in range(300)])
    writer.add_tensor("output_norm.weight", np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _time(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what `work` returns, and the seconds it took."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
