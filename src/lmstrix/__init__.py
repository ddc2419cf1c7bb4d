"""LMStrix: find the context length your local models can really hold, and run them inside it.

`LMStrix` is the way in; everything it returns is in `lmstrix.values`, everything it raises in
`lmstrix.errors`. Names are resolved on first use, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmstrix.app import LMStrix as LMStrix
    from lmstrix.errors import LMStrixError as LMStrixError
    from lmstrix.settings import Settings as Settings

__version__ = "0.1.0"
__all__ = ["LMStrix", "LMStrixError", "Settings", "__version__"]

_HOMES = {
    "LMStrix": "lmstrix.app",
    "LMStrixError": "lmstrix.errors",
    "Settings": "lmstrix.settings",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
