"""A test makes room for itself, and leaves the machine as it found it."""

from engine.benches import Bench
from lmstrix.engine.bench import Bench as Hand
from lmstrix.engine.room import held_by_others, room_made
from lmstrix.errors import ModelLoadError
from lmstrix.ports import LoadRequest, OnTick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import Event, Model


def contexts(bench: Bench) -> list[int | None]:
    """Return the contexts of what is loaded now."""
    return [copy.context for _, copy in bench.backend.loaded()]


def test_own_copy_is_released_and_not_loaded_again() -> None:
    """It was loaded to answer a prompt; the next prompt loads it again."""
    bench = Bench()
    bench.infer("What is the access code of the mill?")
    assert contexts(bench)

    with room_made(bench.hand(), unload_others=False, timeout_s=60):
        assert contexts(bench) == []

    assert contexts(bench) == []


def test_copy_of_others_is_left_alone() -> None:
    """Never unload a user's model unasked."""
    bench = Bench()
    bench.backend.preload("fake", 8_192)

    with room_made(bench.hand(), unload_others=False, timeout_s=60):
        assert contexts(bench) == [8_192]
        assert held_by_others(bench.hand()) == ["fake at 8,192 tokens"]


def test_copy_of_others_comes_back_as_it_was_where_they_agreed() -> None:
    """It made room for a while, and its user should not notice afterwards."""
    bench, told = Bench(), list[Event]()
    bench.backend.preload("fake", 8_192)

    with room_made(bench.hand(told.append), unload_others=True, timeout_s=60):
        assert contexts(bench) == []

    assert contexts(bench) == [8_192]
    assert [event.message for event in told] == [
        "unloading fake for the time of the test",
        "fake is loaded again at 8,192 tokens",
    ]


def test_copy_that_cannot_come_back_is_told() -> None:
    """A failure here must not hide what the test found."""

    class Once(FakeBackend):
        def load(
            self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
        ) -> FakeLoaded:
            raise ModelLoadError("no", outcome="unknown")

    bench, told = Bench(), list[Event]()
    backend = Once(FakeModel())
    backend.preload("fake", 8_192)
    hand = Hand(backend=backend, registry=bench.registry, clock=backend.clock, on_event=told.append)

    with room_made(hand, unload_others=True, timeout_s=60):
        pass

    assert told[-1].message == "fake could not be loaded again: no"
