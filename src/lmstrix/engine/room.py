"""Room for a test: what is loaded already takes memory, and would be measured with it.

A copy that LMStrix itself loaded, to answer a prompt, is released: the next prompt loads it again.
What somebody else loaded is left alone, unless they agreed; and then it is loaded again afterwards,
at the context it had.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NamedTuple

from lmstrix.engine.admission import Conditions
from lmstrix.engine.bench import Bench
from lmstrix.errors import BackendError
from lmstrix.ports import LoadRequest
from lmstrix.values import Event, LoadConfig, Model


class _Evicted(NamedTuple):
    key: str
    context: int


@contextmanager
def room_made(bench: Bench, *, unload_others: bool, timeout_s: float) -> Iterator[None]:
    """Release loaded copies for as long as the context lasts; see above for which."""
    with ExitStack() as afterwards:
        for evicted in _release(bench, unload_others=unload_others):
            afterwards.callback(_restore, evicted, bench, timeout_s)
        yield


def conditions_now(bench: Bench) -> Conditions:
    """Return what the machine has now, or will have once our own idle copies are released."""
    memory = bench.backend.memory()
    if memory is not None:
        memory = replace(memory, available=memory.available + own_bytes(bench))
    return Conditions(memory=memory, held=held_by_others(bench))


def held_by_others(bench: Bench) -> Sequence[str]:
    """Return the copies that somebody else loaded, a few words each."""
    held = ((key, bench.backend.attach(copy.identifier)) for key, copy in bench.backend.loaded())
    return [
        f"{key} at {copy.context:,} tokens"
        for key, copy in held
        if copy is not None and copy.load_s is None
    ]


def own_bytes(bench: Bench) -> int:
    """Return the memory of the copies that a test releases, as far as it is known."""
    held = (bench.backend.attach(copy.identifier) for _, copy in bench.backend.loaded())
    return sum(
        copy.memory_bytes() or 0 for copy in held if copy is not None and copy.load_s is not None
    )


def _release(bench: Bench, *, unload_others: bool) -> Iterator[_Evicted]:
    for key, told in bench.backend.loaded():
        copy = bench.backend.attach(told.identifier)
        if copy is None or (copy.load_s is None and not unload_others):
            continue
        if copy.load_s is None:
            _tell(bench, key, f"unloading {key} for the time of the test")
            yield _Evicted(key, copy.context)
        copy.unload()


def _restore(copy: _Evicted, bench: Bench, timeout_s: float) -> None:
    request = LoadRequest(
        context=copy.context, config=LoadConfig(), budget_bytes=None, timeout_s=timeout_s
    )
    model = _model(copy.key, bench)
    if model is None:
        _tell(bench, copy.key, f"{copy.key} is not known any more, and not loaded again")
        return
    try:
        bench.backend.load(model, request)
    except BackendError as error:
        _tell(bench, copy.key, f"{copy.key} could not be loaded again: {error}")
    else:
        _tell(bench, copy.key, f"{copy.key} is loaded again at {copy.context:,} tokens")


def _model(key: str, bench: Bench) -> Model | None:
    known = bench.registry.models()
    return next((m for m in known if (m.key, m.backend) == (key, bench.backend.name)), None)


def _tell(bench: Bench, key: str, message: str) -> None:
    bench.on_event(Event(kind="noted", model=key, message=message))
