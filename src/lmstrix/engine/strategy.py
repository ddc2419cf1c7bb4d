"""Which context to probe next. Pure: a strategy knows outcomes, and nothing of runtimes or time.

The caller asks for the next context, probes it, and tells what came of it, until the answer is
None. A strategy depends on nothing but what it was told: told the same history again, in the same
order, it asks for the same next context. So a search is resumed by replaying its recorded probes.

Each strategy has a room of its own in `lmstrix.engine.strategies`; this is their door.
"""

from collections.abc import Mapping
from typing import Final

from lmstrix.engine.strategies.bisect import Bisect
from lmstrix.engine.strategies.certify import Certify
from lmstrix.engine.strategies.climb import GROWTH, Climb
from lmstrix.engine.strategies.descend import Descend
from lmstrix.engine.strategies.exact import Exact
from lmstrix.engine.strategies.space import OpenStrategy, SearchSpace, Strategy
from lmstrix.errors import RequestError
from lmstrix.ports import Prior

__all__ = [
    "STRATEGIES",
    "Bisect",
    "Certify",
    "Climb",
    "Descend",
    "Exact",
    "OpenStrategy",
    "Prior",
    "SearchSpace",
    "Strategy",
    "check_strategy",
    "most_probes",
    "most_to_descend",
    "open_strategy",
]

STRATEGIES: Final[Mapping[str, OpenStrategy]] = {
    "bisect": Bisect,
    "certify": Certify,
    "climb": Climb,
    "exact": Exact,
}
"""The strategies that come with LMStrix, by name."""


def open_strategy(
    name: str, space: SearchSpace, others: Mapping[str, OpenStrategy] | None = None
) -> Strategy:
    """Return the strategy called `name`, ready to search `space`.

    Args:
        name: One of `STRATEGIES`, or of the others.
        space: Where to search.
        others: Strategies from elsewhere. They are not looked at as long as a name is found here,
            and so cannot take the place of one.

    Raises:
        RequestError: There is no such strategy.
    """
    others = {} if others is None else others
    if name in STRATEGIES:
        return STRATEGIES[name](space)
    if name in others:
        return others[name](space)
    raise _unknown(name, others)


def check_strategy(name: str, others: Mapping[str, OpenStrategy]) -> None:
    """Refuse a strategy that does not exist. One that does is not begun.

    Raises:
        RequestError: There is no such strategy.
    """
    if name not in STRATEGIES and name not in others:
        raise _unknown(name, others)


def most_probes(space: SearchSpace, name: str = "bisect") -> int:
    """Return how many probes a search of `space` takes at most, if all goes as it should.

    That is: every failure is out of memory, and memory, where a budget is known, is told and grows
    as the prior says, within twice its error. Else `certify` may take as many as `climb`. A
    strategy from elsewhere is taken to need no more than halving does.
    """
    steps, halvings = _steps(space), _halvings(space)
    guided = space.budget_bytes is not None and not (steps == 1 and _starts_at_floor(space))
    match name:
        case "certify" if guided:
            return min(steps, 5) + 4
        case "certify" | "climb":
            return steps + 2 * guided
        case "exact":
            return halvings + (6 if guided else steps)
        case _:
            return halvings


def most_to_descend(space: SearchSpace) -> int:
    """Return how many probes `Descend` takes at most, if all goes as it should.

    That is: whatever fails once fails again, for which two of three probes are there. Where every
    failure is out of memory, it is a third of that, and one more.
    """
    steps = len(space.grid(space.start, space.ceiling)).bit_length()
    return max(3, 6 * steps)


def _unknown(name: str, others: Mapping[str, OpenStrategy]) -> RequestError:
    listed = ", ".join(f"`{known}`" for known in sorted({*STRATEGIES, *others}))
    return RequestError(f"unknown strategy: `{name}`", hint=f"there is {listed}")


def _halvings(space: SearchSpace) -> int:
    start = min(space.start, space.first or space.start)
    threshold = space.clamp(space.ceiling)
    below = len(space.grid(start, threshold)) + (threshold > start)
    above = len(space.grid(threshold, space.ceiling)) + (space.ceiling > threshold)
    openings = 1 if space.first is None else 2
    return openings + below.bit_length() + above.bit_length()


def _starts_at_floor(space: SearchSpace) -> bool:
    """Whether the prior does not make a search begin lower."""
    prior, budget = space.prior, space.budget_bytes
    if prior is None or prior.fixed_bytes is None or budget is None:
        return True
    return prior.fixed_bytes + prior.bytes_per_token * space.start < budget


def _steps(space: SearchSpace) -> int:
    """Return how many steps of bounded growth lead to the ceiling."""
    context, steps = space.start, 1 if space.first is None else 2
    steps += space.threshold <= context < space.ceiling  # a smaller load, to measure memory with
    while context < space.ceiling:
        top = space.ceiling if context >= space.threshold else space.clamp(space.ceiling)
        context = min(top, max(space.align(int(GROWTH * context)), context + space.grain))
        steps += 1
    return steps
