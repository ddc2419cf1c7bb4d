"""How much memory a model may take. Sizes in bytes."""

GIB = 2**30


def reserve_bytes(total: int) -> int:
    """Return what is left to the rest of the machine: 2 GiB, or 5 % of its memory if more."""
    return max(2 * GIB, total // 20)
