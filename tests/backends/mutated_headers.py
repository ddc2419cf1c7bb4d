"""Reads mutated headers, in a process of its own: `mutated_headers.py FILE COUNT FOLDER`.

FILE is left alone. Prints how many mutations ended in a header, how many in an error, and the most
memory in bytes that one of them took. Anything else that happens ends the process.
"""

import os
import random
import resource
import sys
import tracemalloc
from pathlib import Path

from lmstrix.backends.llamacpp.gguf import read_header
from lmstrix.backends.llamacpp.walk import GGUFError

_CLAIMS = (2**64 - 1, 2**63, 2**60, 2**40, 2**32 - 1, 2**31, 2**24, 2**20, 4096, 1, 0)
_MOST_ADDRESSES = 1024**3
_SPARSE = 2**33


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return `content` with bytes flipped, claims inflated, a piece gone or its end cut off."""
    mutant = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(mutant))
        match chance.randrange(5):
            case 0:
                mutant[place] ^= 1 << chance.randrange(8)
            case 1:
                mutant[place : place + 8] = chance.choice(_CLAIMS).to_bytes(8, "little")
            case 2:
                mutant[place : place + 4] = chance.randrange(2**32).to_bytes(4, "little")
            case 3:
                del mutant[place : place + chance.randrange(1, 64)]
            case _:
                del mutant[place:]
        if len(mutant) < 8:
            break
    return bytes(mutant)


def main(source: Path, count: int, folder: Path) -> None:
    """Read `count` mutants of `source`, some of them grown to 8 GiB without taking disk."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESSES, _MOST_ADDRESSES))
    content, path = source.read_bytes(), folder / "mutant.gguf"
    chance = random.Random(1)  # noqa: S311 - the same mutants every time
    headers = errors = 0
    tracemalloc.start()
    for number in range(count):
        path.write_bytes(mutate(content, chance))
        if number % 10 == 0:
            os.truncate(path, _SPARSE)
        try:
            read_header(path)
            headers += 1
        except GGUFError:
            errors += 1
    sys.stdout.write(f"{headers} {errors} {tracemalloc.get_traced_memory()[1]}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
