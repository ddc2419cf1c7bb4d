"""The part of a GGUF header that lists the tensors: what they hold, and where they end."""

import math
from dataclasses import dataclass
from struct import Struct
from typing import Final

from lmstrix.backends.llamacpp.walk import U32, U64, Walk

MOST_TENSORS: Final = 128 * 1024

_LONGEST_NAME: Final = 1024
_MOST_DIMENSIONS: Final = 4
_LAYOUTS: Final = [Struct(f"<{dimensions}QIQ") for dimensions in range(_MOST_DIMENSIONS + 1)]

_TYPES: Final = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    9: (32, 40),  # Q8_1
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    15: (256, 292),  # Q8_K
    16: (256, 66),  # IQ2_XXS
    17: (256, 74),  # IQ2_XS
    18: (256, 98),  # IQ3_XXS
    19: (256, 50),  # IQ1_S
    20: (32, 18),  # IQ4_NL
    21: (256, 110),  # IQ3_S
    22: (256, 82),  # IQ2_S
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    29: (256, 56),  # IQ1_M
    30: (1, 2),  # BF16
    34: (256, 54),  # TQ1_0
    35: (256, 66),  # TQ2_0
    39: (32, 17),  # MXFP4
    40: (64, 36),  # NVFP4
    41: (128, 18),  # Q1_0
}
"""Of each tensor type: numbers in a block, bytes of a block (`type_traits` in ggml.c)."""


@dataclass(frozen=True, slots=True)
class TensorSizes:
    """What all tensors of a file come to."""

    parameters: int
    """Numbers in them."""
    needed_bytes: int
    """Size of a file that holds them all."""


def read_tensors(walk: Walk, tensors: int, *, alignment: int) -> TensorSizes:
    """Read the list of `tensors` tensors; their data starts behind it, at `alignment` bytes.

    Raises:
        GGUFError: The list makes no sense.
    """
    parameters = end = 0
    for _ in range(tensors):
        shape, kind, offset = _read_tensor(walk)
        numbers = math.prod(shape)
        # A type made since is of unknown size: all that is known is where its tensor starts.
        block, size = _TYPES.get(kind, (1, 0))
        parameters += numbers
        end = max(end, offset + numbers // block * size)
    if not tensors:
        return TensorSizes(0, walk.position)
    return TensorSizes(parameters, -(-walk.position // alignment) * alignment + end)


def _read_tensor(walk: Walk) -> tuple[list[int], int, int]:
    """Return a tensor's shape, its type, and its offset in the data."""
    length = walk.integer(U64)
    if length > _LONGEST_NAME:
        walk.fail(f"it has a tensor name of {length} bytes")
    walk.take(length)
    dimensions = walk.integer(U32)
    if dimensions > _MOST_DIMENSIONS:
        walk.fail(f"it has a tensor of {dimensions} dimensions")
    layout = _LAYOUTS[dimensions]
    *shape, kind, offset = layout.unpack(walk.take(layout.size))
    return shape, kind, offset
