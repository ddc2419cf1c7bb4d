"""What one run of `lmstrix` carries from its options to its end."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmstrix.app import LMStrix
    from lmstrix.settings import Settings


class Session:
    """One run of the command line; every command gets it as click's `obj`.

    Attributes:
        as_json: Whether stdout is to carry one JSON document and nothing else.
        kept: What remains if the run is interrupted now, in a few words.

    Args:
        strix: An LMStrix to use instead of one built from the settings. It is left open.
        as_json: What is assumed until the options are parsed.
    """

    def __init__(self, strix: "LMStrix | None" = None, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.kept = "nothing was recorded"
        self._strix = strix
        self._opened = ExitStack()

    @property
    def strix(self) -> "LMStrix":
        """The façade, built when a command first asks for it.

        Raises:
            ConfigError: A setting cannot be used.
        """
        return self.open(lambda settings: settings)

    def open(self, adapt: "Callable[[Settings], Settings]") -> "LMStrix":
        """Return the façade; if it is built only now, with settings changed by `adapt`.

        Raises:
            ConfigError: A setting cannot be used.
        """
        if self._strix is None:
            from lmstrix.app import LMStrix  # noqa: PLC0415 - `--help` must not load the engine
            from lmstrix.settings import Settings  # noqa: PLC0415 - likewise

            self._strix = self._opened.enter_context(LMStrix(adapt(Settings.read())))
        return self._strix

    def close(self) -> None:
        """Unload and close what this session opened."""
        self._opened.close()
