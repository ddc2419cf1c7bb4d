"""What the names of model files and the codes of file types say."""

import re
from typing import Final

_FILE_TYPES: Final = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
    39: "NVFP4",
    40: "Q1_0",
}
"""`llama_ftype` in llama.cpp's include/llama.h."""

_PART: Final = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})")

_QUANTIZATION: Final = re.compile(
    r"""[-._]
    (?P<quantization>
        (?:UD-|i1-)?
        (?: I?Q\d (?:_(?:\d|K|S|M|L|XS|XL|XXS|XXL|NL)){1,3}
          | TQ[12]_0 | B?F16 | F32 | FP16 | FP32 | MXFP4(?:_MOE)? | NVFP4
        )
    )$""",
    re.IGNORECASE | re.VERBOSE,
)


def split_part(stem: str) -> tuple[str, int, int]:
    """Return a file name without extension as the model's, the part's number and how many.

    A file that is not one of several is part 1 of 1.
    """
    match = _PART.fullmatch(stem)
    if match is None or not 1 <= int(match["number"]) <= int(match["total"]):
        return stem, 1, 1
    return match["stem"], int(match["number"]), int(match["total"])


def split_quantization(stem: str) -> tuple[str, str | None]:
    """Return a file name without extension as the model's name and its quantization, if told."""
    match = _QUANTIZATION.search(stem)
    return (stem, None) if match is None else (stem[: match.start()], match["quantization"])


def file_type_name(code: int | None) -> str | None:
    """Return the name of a file type, e.g. `Q4_K_M` for 15; None if llama.cpp knows no such."""
    return None if code is None else _FILE_TYPES.get(code)


def show_parameters(count: int) -> str | None:
    """Return a number of parameters as people say it, e.g. `268M` or `1.2B`; None if absurd."""
    for scale, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        scaled = count / scale
        if 0.9995 <= scaled < 1000:
            return f"{scaled:.0f}{unit}" if scaled >= 9.95 else f"{scaled:.1f}{unit}"
    return None


def printable(text: str) -> str:
    """Return `text` without what would command a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
