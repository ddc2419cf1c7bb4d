"""Calls to an engine, with what a test does not care about left out."""

from lmstrix.ports import LoadRequest, Prompt, Sampling
from lmstrix.values import LoadConfig

RAW = Prompt(text="The quick brown fox", chat=False)
GREEDY = Sampling(max_tokens=16, temperature=0.0, seed=1)


def engine_pid(identifier: str) -> int:
    """Return the process behind a copy: its identifier ends with it."""
    return int(identifier.rpartition("#")[2])


def request_for(context: int | None, *, budget: int | None = None, **config: str) -> LoadRequest:
    """Return a request to load at `context` tokens within `budget` bytes."""
    return LoadRequest(
        context=context, config=LoadConfig(**config), budget_bytes=budget, timeout_s=60.0
    )
