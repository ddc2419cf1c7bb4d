"""How the engine tells its caller what goes on, while it goes on."""

from collections.abc import Callable

from lmstrix.values import Event

OnEvent = Callable[[Event], None]
"""Called between steps and, while a model loads or generates, at least twice a second.

Raising from it stops the work at that point. A test then unloads what it loaded and closes its
journal; a copy that was loaded to answer a prompt stays for the next one.
"""


def ignore(event: Event) -> None:
    """Take no notice of `event`."""
