"""Sizes as people write them: `8k` tokens, `6GiB` of memory, and back."""

import re
from typing import Final

from lmstrix.errors import ConfigError, RequestError

_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "k": 2**10,
    "m": 2**20,
    "g": 2**30,
    "t": 2**40,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_bytes(text: str) -> int:
    """Return the bytes that `6GiB`, `800MiB`, `1.5g` or `1048576` say.

    Raises:
        ConfigError: The text is not a size, or not above zero.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if match and (unit := _UNITS.get(match[2])) and (size := int(float(match[1]) * unit)) > 0:
        return size
    raise ConfigError(f"not a size of memory: `{text}`", hint="write it like `6GiB` or `800MiB`")


def parse_tokens(text: str) -> int:
    """Return the tokens that `8192`, `8k` or `8K` say; a `k` is 1024.

    Raises:
        RequestError: The text is not a whole number of tokens.
    """
    match = re.fullmatch(r"\s*(\d+)\s*(k?)\s*", text.lower())
    if match:
        return int(match[1]) * (1024 if match[2] else 1)
    raise RequestError(f"not a number of tokens: `{text}`", hint="write it like `8192` or `8k`")


def show_bytes(size: float) -> str:
    """Return `size` in the largest binary unit that keeps it at 1 or above, e.g. `1.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
