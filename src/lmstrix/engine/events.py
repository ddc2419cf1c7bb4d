"""How the engine tells its caller what goes on, while it goes on."""

from collections.abc import Callable

from lmstrix.values import Event

OnEvent = Callable[[Event], None]
"""Called between steps and, while a model loads or generates, at least twice a second.

Raising from it stops the work at that point: what was loaded for it is unloaded, and the journal
is closed.
"""


def ignore(event: Event) -> None:
    """Take no notice of `event`."""
