"""What runs of the installed program share."""

import os
from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf


@pytest.fixture
def environment(tmp_path: Path, own_home: Path) -> dict[str, str]:
    """An environment in which `heavy`, 32 KiB a token, is the only model."""
    folder = tmp_path / "models"
    folder.mkdir()
    write_tiny_gguf(
        folder / "heavy-f16.gguf", context_length=131_072, layers=8, kv_heads=8, head_size=128
    )
    return {**os.environ, "LMSTRIX_MODELS_DIR": str(folder), "LMSTRIX_BACKEND": "llamacpp"}
