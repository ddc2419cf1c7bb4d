"""Strategies that other packages bring, by the entry-point group `lmstrix.strategies`.

Nothing is looked up before a name is asked for that LMStrix does not know itself, or names are
listed; and then nothing is imported but the package that brings the name. A foreign strategy is
watched: whatever it raises becomes a `RequestError` that names it, and it is held to the ceiling
and the threshold of its search.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar

from lmstrix.engine.strategy import OpenStrategy, SearchSpace, Strategy
from lmstrix.errors import LMStrixError, RequestError
from lmstrix.values import Probe

STRATEGY_GROUP: Final = "lmstrix.strategies"

_Result = TypeVar("_Result")


class InstalledStrategies(Mapping[str, OpenStrategy]):
    """The strategies of installed packages by name, for `open_strategy`."""

    def __getitem__(self, name: str) -> OpenStrategy:
        """Return the strategy called `name`.

        Raises:
            KeyError: No package brings it.
            RequestError: The package that does cannot be imported.
        """
        entry = self._entries[name]
        return partial(_Watched, name, _sheltered(name, entry.load))

    def __contains__(self, name: object) -> bool:
        # What `Mapping` would do is to import the package.
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @cached_property
    def _entries(self) -> Mapping[str, EntryPoint]:
        return {entry.name: entry for entry in entry_points(group=STRATEGY_GROUP)}


class _Watched:
    """A foreign strategy, held to its space. See `Strategy` for the methods."""

    def __init__(self, name: str, begin: OpenStrategy, space: SearchSpace) -> None:
        self._name, self._space = name, space
        self._strategy: Strategy = _sheltered(name, partial(begin, space))
        self._passed = 0
        self._measured: set[int] = set()

    @property
    def stopped_because(self) -> str:
        return str(_sheltered(self._name, lambda: self._strategy.stopped_because))

    def next_context(self) -> int | None:
        context = _sheltered(self._name, self._strategy.next_context)
        cleared = len(self._measured) > 1 or self._passed >= self._space.threshold
        top = self._space.ceiling if cleared else self._space.clamp(self._space.ceiling)
        if context is not None and not (isinstance(context, int) and 1 <= context <= top):
            raise RequestError(
                f"strategy `{self._name}` asked for {context!r} tokens where {top} are the most",
                hint="`--strategy certify` keeps to its bounds",
            )
        return context

    def tell(self, probe: Probe) -> None:
        if probe.passed:
            self._passed = max(self._passed, probe.requested)
            self._measured |= {probe.requested} if probe.memory_bytes is not None else set()
        _sheltered(self._name, partial(self._strategy.tell, probe))


def _sheltered(name: str, call: Callable[[], _Result]) -> _Result:
    """Return what `call`, which runs code of the strategy called `name`, returns.

    Raises:
        RequestError: It failed.
    """
    try:
        return call()
    except LMStrixError:
        raise
    except Exception as error:  # foreign code may raise anything, and its name is wanted
        raise RequestError(
            f"strategy `{name}` failed: {type(error).__name__}: {error}",
            hint="`--strategy certify` does without it",
        ) from error
