"""Runtimes over real llama.cpp, with models small enough to load in a blink."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.values import Model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of models: `tiny`, 512 bytes a token, and `heavy`, 32 KiB a token."""
    folder = tmp_path / "models"
    folder.mkdir()
    write_tiny_gguf(folder / "tiny-f16.gguf", context_length=65_536)
    write_tiny_gguf(
        folder / "heavy-f16.gguf", context_length=65_536, layers=8, kv_heads=8, head_size=128
    )
    return folder


@pytest.fixture
def backend(folder: Path, tmp_path: Path) -> Iterator[LlamaCppBackend]:
    """A runtime over that folder; whatever a test leaves loaded is unloaded."""
    backend = LlamaCppBackend([folder], HeaderCache(tmp_path / "headers.json"))
    yield backend
    backend.close()


@pytest.fixture
def models(backend: LlamaCppBackend) -> dict[str, Model]:
    """The models it offers, by key."""
    return {model.key: model for model in backend.list_models()}
