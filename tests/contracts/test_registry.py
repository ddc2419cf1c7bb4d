"""Every registry keeps the same promises: one body, each store; and both stores agree."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lmstrix.errors import BusyError, RegistryError
from lmstrix.ports import Registry
from lmstrix.registry import open_registry
from lmstrix.registry.owners import Owner
from lmstrix.testing import FakeClock, MemoryRegistry
from lmstrix.values import (
    Fingerprint,
    LoadConfig,
    Model,
    Outcome,
    Probe,
    Proof,
    RecallScore,
    Stair,
    Status,
)

HERE = Fingerprint(model="m", runtime="r 1", machine="x")
THERE = HERE.model_copy(update={"config": LoadConfig(kv_type="q8_0")})


@dataclass(frozen=True, kw_only=True)
class Store:
    """A registry, and how another process opens a probe in it and dies."""

    registry: Registry
    clock: FakeClock
    open_and_die: Callable[[str, Probe], Probe]

    def begin(self, context: int = 4_096, **fields: Any) -> Probe:
        """Open a probe of `m` on `fake`, at `context`."""
        self.clock.advance(1)
        return self.registry.open_probe("fake", self.starting(context, **fields))

    def starting(self, context: int = 4_096, **fields: Any) -> Probe:
        """Return a probe that is about to start."""
        known = {"model": "m", "proof": Proof.FILL, "fingerprint": HERE, **fields}
        return Probe.model_validate({"requested": context, "started_at": self.clock.now(), **known})

    def end(self, probe: Probe, outcome: Outcome = Outcome.PASSED, **fields: Any) -> Probe:
        """Close `probe`, loaded as it was asked for."""
        self.clock.advance(1)
        end = {"outcome": outcome, "effective": probe.requested, "ended_at": self.clock.now()}
        closed = probe.model_copy(update={**end, **fields})
        self.registry.close_probe(closed)
        return closed

    def model(self, key: str = "m") -> Model:
        """Return the known model of that key."""
        [model] = [model for model in self.registry.models() if model.key == key]
        return model


def sqlite_store(home: Path) -> Store:
    """Return a store in an SQLite file."""
    clock = FakeClock()

    def open_and_die(backend: str, probe: Probe) -> Probe:
        with closing(open_registry(home, clock)) as other:
            # Another process once had our id: it cannot be alive.
            other._owner = replace(Owner.current(), start=0.0)
            return other.open_probe(backend, probe)

    return Store(registry=open_registry(home, clock), clock=clock, open_and_die=open_and_die)


def memory_store(_home: Path) -> Store:
    """Return a store in memory."""
    clock = FakeClock()
    registry = MemoryRegistry(clock)

    def open_and_die(backend: str, probe: Probe) -> Probe:
        living, registry.owner = registry.owner, "gone"
        opened = registry.open_probe(backend, probe)
        registry.owner = living
        registry.dead.add("gone")
        return opened

    return Store(registry=registry, clock=clock, open_and_die=open_and_die)


@pytest.fixture(params=[sqlite_store, memory_store], ids=["sqlite", "memory"])
def store(request: pytest.FixtureRequest, own_home: Path) -> Iterator[Store]:
    """Return an empty store of each kind."""
    store: Store = request.param(own_home)
    with closing(store.registry):
        yield store


def model(key: str = "m", declared: int | None = 8_192) -> Model:
    """Return a model as a runtime lists it."""
    return Model(key=key, backend="fake", declared_context=declared)


def test_new_registry_knows_nothing(store: Store) -> None:
    """The first run starts from nothing, without an error."""
    registry = store.registry

    assert (list(registry.models()), list(registry.probes()), list(registry.sweep())) == (
        [],
        [],
        [],
    )
    assert registry.get_note("last") is None


def test_scan_replaces_the_models_of_its_own_runtime(store: Store) -> None:
    """A model that was deleted is gone; those of another runtime are not its business."""
    elsewhere = model("ab").model_copy(update={"backend": "other"})
    store.registry.put_models("other", [elsewhere])
    store.registry.put_models("fake", [model("b"), model("c")])
    store.registry.put_models("fake", [model("b"), model("a")])

    assert [(m.key, m.backend) for m in store.registry.models()] == [
        ("a", "fake"),
        ("ab", "other"),
        ("b", "fake"),
    ]


def test_status_follows_a_test(store: Store) -> None:
    """What a list shows is where testing stands now."""
    store.registry.put_models("fake", [model()])
    seen = [store.model().status]
    probe = store.begin()
    seen.append(store.model().status)
    store.end(probe, Outcome.CRASHED)
    seen.append(store.model().status)
    store.end(store.begin(2_048))
    seen.append(store.model().status)

    assert seen == [Status.UNTESTED, Status.TESTING, Status.FAILED, Status.TESTED]


def test_closing_a_probe_updates_the_limits_of_its_model(store: Store) -> None:
    """Limits are what the probes prove, from the moment they are recorded."""
    store.registry.put_models("fake", [model(), model("n")])
    store.end(store.begin(2_048))
    store.end(store.begin(4_096), Outcome.OUT_OF_MEMORY, effective=None)

    limits = store.model().limits
    assert limits is not None
    assert (limits.usable, limits.refuted, limits.efficiency) == (2_048, 4_096, 0.25)
    assert limits.fingerprint == HERE
    assert store.model("n").limits is None


def test_newest_fingerprint_is_the_one_shown(store: Store) -> None:
    """What was measured last is what the user has now; the older probes are kept."""
    store.registry.put_models("fake", [model()])
    store.end(store.begin(8_192))
    store.end(store.begin(2_048, fingerprint=THERE))

    limits = store.model().limits
    assert limits is not None
    assert (limits.usable, limits.fingerprint) == (2_048, THERE)
    assert len(store.registry.probes(model="m")) == 2


def test_fingerprint_with_which_nothing_works_does_not_hide_one_that_does(store: Store) -> None:
    """A test in a megabyte of memory says nothing about the model as it is used."""
    store.registry.put_models("fake", [model()])
    store.end(store.begin(4_096))
    store.end(store.begin(8_192, fingerprint=THERE), Outcome.OUT_OF_MEMORY, effective=None)

    limits = store.model().limits
    assert limits is not None
    assert (limits.fingerprint, limits.usable) == (HERE, 4_096)
    assert store.model().status is Status.TESTED


def test_limits_are_told_of_each_fingerprint_and_the_newest_last(store: Store) -> None:
    """What fits a load made now is chosen among them; none may hide another."""
    store.registry.put_models("fake", [model(), model("n")])
    store.end(store.begin(8_192))
    store.end(store.begin(4_096, fingerprint=THERE), Outcome.OUT_OF_MEMORY, effective=None)
    store.end(store.begin(2_048, fingerprint=None))
    store.begin(1_024, fingerprint=THERE)

    def told() -> list[tuple[Fingerprint | None, int | None]]:
        limits = store.registry.limits_of("fake", "m")
        return [(one.fingerprint, one.usable) for one in limits]

    assert told() == [(HERE, 8_192), (THERE, None), (None, 2_048)]
    store.end(store.begin(4_096))
    assert told() == [(THERE, None), (None, 2_048), (HERE, 8_192)]
    assert list(store.registry.limits_of("fake", "n")) == []
    assert list(store.registry.limits_of("other", "m")) == []


def test_failure_counts_once_it_has_come_back_or_was_confirmed(store: Store) -> None:
    """Limits are the same in every store: by the definition, not by its own."""
    store.registry.put_models("fake", [model()])
    refuted = []
    for size, outcome, confirmed in [
        (4_096, Outcome.CRASHED, False),
        (1_024, Outcome.PASSED, False),
        (4_096, Outcome.CRASHED, False),
        (2_048, Outcome.CRASHED, True),
    ]:
        store.end(store.begin(size), outcome, confirmed=confirmed)
        refuted += [limits.refuted for limits in store.registry.limits_of("fake", "m")]

    assert refuted == [None, None, 4_096, 2_048]


def test_limits_follow_the_declared_context(store: Store) -> None:
    """A file may be replaced by one that claims more."""
    store.registry.put_models("fake", [model(declared=4_096)])
    store.end(store.begin(4_096))
    store.registry.put_models("fake", [model(declared=8_192)])

    limits = store.model().limits
    assert limits is not None
    assert (limits.declared, limits.efficiency) == (8_192, 0.5)


def test_probes_outlive_their_model(store: Store) -> None:
    """A model that is moved away and back was still tested."""
    store.registry.put_models("fake", [model()])
    store.end(store.begin())
    store.registry.put_models("fake", [])
    assert len(store.registry.probes(model="m")) == 1

    store.registry.put_models("fake", [model()])

    assert store.model().status is Status.TESTED


def test_probes_are_found_by_runtime_model_and_fingerprint(store: Store) -> None:
    """History of a model, and the replay of one fingerprint, are both questions asked."""
    opened = [
        store.registry.open_probe("fake", store.starting()),
        store.registry.open_probe("fake", store.starting(model="n")),
        store.registry.open_probe("fake", store.starting(fingerprint=THERE)),
        store.registry.open_probe("other", store.starting(fingerprint=None)),
    ]

    def found(**wanted: str) -> list[int]:
        return [opened.index(probe) for probe in store.registry.probes(**wanted)]

    assert found() == [0, 1, 2, 3]
    assert found(model="m") == [0, 2, 3]
    assert found(backend="fake", model="m") == [0, 2]
    assert found(model="m", digest=HERE.digest) == [0]
    assert found(digest="0" * 16) == []


def test_closing_what_is_not_open_is_an_error(store: Store) -> None:
    """Rows are never changed once they are closed: that is what makes them evidence."""
    closed = store.end(store.begin())

    with pytest.raises(RegistryError, match="is not open"):
        store.registry.close_probe(closed.model_copy(update={"effective": 1}))
    with pytest.raises(RegistryError, match="is not open"):
        store.registry.close_probe(closed.model_copy(update={"id": 99}))
    with pytest.raises(RegistryError):
        store.registry.close_probe(store.begin())
    assert store.registry.probes()[0] == closed


def test_sweep_closes_the_probes_of_dead_processes_only(store: Store) -> None:
    """A size that took the machine down must not be tried again as if nothing had happened."""
    store.registry.put_models("fake", [model(), model("n")])
    living = store.begin(model="n")
    dead = store.open_and_die("fake", store.starting(8_192))

    [swept] = store.registry.sweep()

    assert (swept.id, swept.outcome, swept.requested) == (dead.id, Outcome.INTERRUPTED, 8_192)
    assert list(store.registry.probes()) == [living, swept]
    assert list(store.registry.sweep()) == []
    assert store.model("n").status is Status.TESTING
    limits = store.model().limits
    assert limits is not None
    assert (store.model().status, limits.refuted) == (Status.INTERRUPTED, 8_192)


def test_note_is_remembered_until_it_is_replaced(store: Store) -> None:
    """`infer` without a model takes the last one used."""
    store.registry.put_note("last", "a")
    store.registry.put_note("last", "b ☃")

    assert store.registry.get_note("last") == "b ☃"


def test_one_measures_at_a_time_on_each_runtime(store: Store) -> None:
    """Two at once would measure each other; two runtimes are two matters."""
    registry = store.registry
    with registry.measuring("fake"):
        with registry.measuring("other"):
            pass
        with pytest.raises(BusyError), registry.measuring("fake"):
            pass
    with pytest.raises(KeyError), registry.measuring("fake"):
        raise KeyError
    with registry.measuring("fake"):
        pass


TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
COUNTS = st.none() | st.integers(0, 2**63 - 1)
SECONDS = st.none() | st.floats(0, allow_infinity=False)
SCORES = st.none() | st.builds(
    RecallScore,
    asked=st.integers(1, 40),
    found=st.integers(0, 40),
    positions=st.lists(st.floats(0, 1), max_size=5).map(tuple),
)
STAIRS = st.lists(
    st.builds(
        Stair,
        depth=st.integers(1, 1 << 40),
        prefilled=st.integers(0, 1 << 40),
        ttft_s=SECONDS,
        prefill_tps=SECONDS,
        decode_tps=SECONDS,
        memory_bytes=COUNTS,
        recall=SCORES,
    ),
    max_size=3,
).map(tuple)
ENDS = st.fixed_dictionaries(
    {
        "outcome": st.sampled_from(Outcome),
        "effective": COUNTS,
        "detail": TEXTS,
        "prompt_tokens": COUNTS,
        "load_s": SECONDS,
        "ttft_s": SECONDS,
        "prefill_tps": SECONDS,
        "decode_tps": SECONDS,
        "memory_bytes": st.none() | st.integers(0, 1 << 50),
        "recall": SCORES,
        "stairs": STAIRS,
        "confirmed": st.booleans(),
    }
)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(Proof), ENDS)
@pytest.mark.parametrize("open_store", [sqlite_store, memory_store], ids=["sqlite", "memory"])
def test_what_is_recorded_reads_back_equal(
    open_store: Callable[[Path], Store], proof: Proof, end: dict[str, Any]
) -> None:
    """Every field of a probe is evidence."""
    with tempfile.TemporaryDirectory() as home:
        store = open_store(Path(home))
        with closing(store.registry):
            opened = store.begin(proof=proof)
            assert list(store.registry.probes()) == [opened]
            closed = store.end(opened, **end)
            assert list(store.registry.probes()) == [closed]


class StoresAgree(RuleBasedStateMachine):
    """SQLite and memory give the same answers after any sequence of operations."""

    def __init__(self) -> None:
        super().__init__()
        self._exit = ExitStack()
        home = Path(self._exit.enter_context(tempfile.TemporaryDirectory()))
        self.stores = [sqlite_store(home), memory_store(home)]
        for store in self.stores:
            self._exit.enter_context(closing(store.registry))
        self.running: Probe | None = None

    def teardown(self) -> None:
        """Release the files."""
        self._exit.close()

    @rule(declared=st.dictionaries(st.sampled_from("mno"), st.sampled_from([None, 300, 512])))
    def scan(self, declared: dict[str, int | None]) -> None:
        """List models, with contexts that may have changed."""
        for store in self.stores:
            store.registry.put_models("fake", [model(key, of) for key, of in declared.items()])

    @precondition(lambda self: self.running is None)
    @rule(
        key=st.sampled_from("mn"),
        context=st.sampled_from([128, 256, 300, 512]),
        proof=st.sampled_from(Proof),
        fingerprint=st.sampled_from([HERE, THERE, None]),
    )
    def begin(self, key: str, context: int, proof: Proof, fingerprint: Fingerprint | None) -> None:
        """Open a probe; the lock allows one at a time on a runtime."""
        fields = {"model": key, "proof": proof, "fingerprint": fingerprint}
        self.running, other = (store.begin(context, **fields) for store in self.stores)
        assert self.running == other

    @precondition(lambda self: self.running is not None)
    @rule(
        outcome=st.sampled_from(Outcome) | st.just(Outcome.PASSED),
        effective=st.none() | st.sampled_from([256, 512]),
        tps=SECONDS,
        stairs=STAIRS,
    )
    def end(
        self,
        outcome: Outcome,
        effective: int | None,
        tps: float | None,
        stairs: tuple[Stair, ...],
    ) -> None:
        """Close the running probe."""
        assert self.running is not None
        fields = {"effective": effective, "decode_tps": tps, "stairs": stairs}
        for store in self.stores:
            store.end(self.running, outcome, **fields)
        self.running = None

    @precondition(lambda self: self.running is None)
    @rule(key=st.sampled_from("mn"), context=st.sampled_from([128, 512]))
    def crash(self, key: str, context: int) -> None:
        """Let another process open a probe and die; sweep up."""
        for store in self.stores:
            store.clock.advance(1)
            store.open_and_die("fake", store.starting(context, model=key))
            assert [probe.requested for probe in store.registry.sweep()] == [context]

    @rule(text=st.text("ab"))
    def remember(self, text: str) -> None:
        """Put a note."""
        for store in self.stores:
            store.registry.put_note("last", text)

    @invariant()
    def answers_are_the_same(self) -> None:
        """Ask both everything."""
        ours, theirs = (self._answers(store.registry) for store in self.stores)
        assert ours == theirs

    def _answers(self, registry: Registry) -> tuple[object, ...]:
        # Why a probe was interrupted is told in the store's own words; and what to show of a model
        # while its first probe under a new fingerprint runs, is the store's own choice.
        probes = [p.model_copy(update={"detail": None}) for p in registry.probes()]
        models = [
            m.model_copy(update={"limits": None}) if m.status is Status.TESTING else m
            for m in registry.models()
        ]
        here = [probe.id for probe in registry.probes(model="m", digest=HERE.digest)]
        limits = [(model.key, list(registry.limits_of("fake", model.key))) for model in models]
        return probes, models, here, limits, registry.get_note("last")


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
