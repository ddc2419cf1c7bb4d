"""What a load in llama.cpp is thought to take for each token of context, from the header alone.

The KV cache is the most of it (`kv.py`). On top come, as measured with random models of 1 to 16
heads and with gemma-3-270m, to within 3 % of the whole:

- with flash attention, llama.cpp's choice unless told otherwise, a mask in half precision for the
  tokens that are read at once;
- without it a mask in single precision, and as much again for the scores of each head. That can
  be several times the cache;
- the book-keeping of each cell of the cache.

The fixed part is not estimated. Beside the weights it is 90 MiB for random models, 207 MiB for
gemma-3-270m, and depends on the build of the engine and the architecture.
"""

from typing import Final

from lmstrix.backends.llamacpp.gguf import Header
from lmstrix.backends.llamacpp.kv import kv_bytes_per_token, window_bytes
from lmstrix.backends.llamacpp.worker import BATCH, CHECKPOINTS
from lmstrix.ports import Prior
from lmstrix.values import LoadConfig

HALF: Final = 2
SINGLE: Final = 4
CELL_BYTES: Final = 53
"""For position, shift and sequences of a cell, and the server's copy of its token."""
FILLING_BYTES: Final = 1_024
"""What a token takes besides the cache once it is read: 0.7 to 0.9 KiB, for its text, its number
and their copies, seen on gemma-3-270m between 1 000 and 32 000 tokens."""
RELATIVE_ERROR: Final = 0.1


def estimate(header: Header, config: LoadConfig) -> Prior | None:
    """Return what a token is thought to take, or None if the header does not tell.

    Args:
        header: Of the model file, or of its first part.
        config: How it would be loaded.
    """
    cache = kv_bytes_per_token(header, config.kv_type)
    working = _attention_bytes(header, config)
    if cache is None or working is None:
        return None
    return Prior(
        bytes_per_token=cache + working + CELL_BYTES,
        relative_error=RELATIVE_ERROR,
        filling=FILLING_BYTES,
        filling_fixed=CHECKPOINTS * window_bytes(header, config.kv_type),
    )


def _attention_bytes(header: Header, config: LoadConfig) -> int | None:
    """Return what attention to one cell takes while a batch is read."""
    batch = config.batch or BATCH
    if config.flash_attention is not False:
        return HALF * batch
    heads = header.head_count
    most = max(heads, default=0) if isinstance(heads, tuple) else heads
    return None if most is None else SINGLE * batch * (1 + most)
