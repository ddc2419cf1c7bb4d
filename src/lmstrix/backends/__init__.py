"""Model runtimes behind the `Backend` port; each one's SDK is imported only when it is opened."""

from importlib.util import find_spec

from lmstrix.errors import BackendUnavailableError
from lmstrix.ports import Backend
from lmstrix.settings import Settings


def open_backend(settings: Settings) -> Backend:
    """Return the runtime that the settings name.

    Raises:
        BackendUnavailableError: It is not installed, or not supported yet.
    """
    if settings.backend == "lmstudio":
        raise BackendUnavailableError(
            "this version of LMStrix does not speak to LM Studio yet",
            hint="set LMSTRIX_BACKEND=llamacpp",
        )
    if find_spec("xllamacpp") is None:
        raise BackendUnavailableError(
            "the llama.cpp engine is not installed",
            hint="install it from the checkout: `pip install -e '.[llamacpp]'`",
        )
    # The adapter and psutil are not needed before a model runtime is.
    from lmstrix.backends.llamacpp.backend import LlamaCppBackend  # noqa: PLC0415
    from lmstrix.backends.llamacpp.header_cache import HeaderCache  # noqa: PLC0415

    cache = HeaderCache(settings.home / "cache" / "gguf-headers.json")
    return LlamaCppBackend(settings.models_dirs, cache)
