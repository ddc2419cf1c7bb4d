"""What fake models say, here."""

from collections.abc import Callable

from lmstrix.testing.model import recite


def answering(otherwise: str) -> Callable[[str], str]:
    """Return a model's reply: the code that a test asks for, and `otherwise` to anything else."""
    return lambda text: recite(text) if "access code" in text else otherwise
