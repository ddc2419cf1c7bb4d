"""Whatever fails on the way, what is claimed was seen, and the search ends."""

from collections.abc import Iterator, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from lmstrix.engine.bench import Bench
from lmstrix.engine.discovery import TestPlan, run_test
from lmstrix.errors import BackendUnavailableError, ModelLoadError
from lmstrix.ports import LoadRequest, OnTick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel, MemoryRegistry
from lmstrix.values import Limits, Model, Outcome, Probe, Proof, TestReport

MIB = 1 << 20
MOODS = st.lists(
    st.sampled_from([Outcome.PASSED] * 4 + [o for o in Outcome if o is not Outcome.INTERRUPTED]),
    max_size=12,
)


class Moody(FakeBackend):
    """A runtime whose loads fail for no reason, as often and as it is told."""

    def __init__(self, model: FakeModel, *, budget_bytes: int, moods: Iterator[Outcome]) -> None:
        super().__init__(model, budget_bytes=budget_bytes)
        self._moods = moods

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Fail as the next mood says, or load."""
        mood = next(self._moods, Outcome.PASSED)
        if mood is Outcome.UNAVAILABLE:
            raise BackendUnavailableError("gone for a moment")
        if mood in {Outcome.PASSED, Outcome.RESIZED}:
            return super().load(model, request, on_tick=on_tick)
        raise ModelLoadError("in a mood", outcome=mood)


def search(
    hidden: int, moods: Sequence[Outcome], strategy: str, proof: Proof
) -> tuple[TestReport | None, Sequence[Probe], Limits]:
    """Test until a report comes of it, and return it with all probes and the limits known."""
    fake = FakeModel(declared=65_536, fixed_bytes=100 * MIB, bytes_per_token=20_000)
    backend = Moody(fake, budget_bytes=fake.memory_bytes(hidden), moods=iter(moods))
    registry = MemoryRegistry(backend.clock)
    registry.put_models(backend.name, backend.list_models())
    bench = Bench(backend=backend, registry=registry, clock=backend.clock)
    [model] = registry.models()
    report = None
    for _ in range(len(moods) + 1):
        try:
            report = run_test(model, TestPlan(strategy=strategy, proof=proof), bench)
            break
        except BackendUnavailableError:
            continue
    known = registry.models()[0].limits
    return report, registry.probes(), known or Limits(declared=65_536)


@settings(deadline=None, max_examples=60)
@given(
    hidden=st.integers(1_000, 80_000),
    moods=MOODS,
    strategy=st.sampled_from(["certify", "exact", "climb", "bisect"]),
)
def test_limit_was_passed_and_nothing_above_refuted_is_claimed(
    hidden: int, moods: list[Outcome], strategy: str
) -> None:
    """Even where the server is lost on the way and the search resumed."""
    report, probes, limits = search(hidden, moods, strategy, Proof.ANSWER)

    assert report is not None
    claimed = limits.answered
    passed = {p.effective for p in probes if p.passed and p.proof.strength >= Proof.ANSWER.strength}
    assert claimed is None or (claimed in passed and claimed <= hidden)
    assert claimed is None or limits.refuted is None or claimed < limits.refuted
    assert len(probes) <= 40 + 4 * len(moods)


@settings(deadline=None, max_examples=10)
@given(hidden=st.integers(1_500, 12_000), moods=MOODS)
def test_window_that_is_claimed_was_filled(hidden: int, moods: list[Outcome]) -> None:
    """Not only answered in."""
    report, probes, limits = search(hidden, moods, "certify", Proof.FILL)

    assert report is not None
    filled = {probe.effective for probe in probes if probe.passed and probe.proof is Proof.FILL}
    assert limits.usable is None or limits.usable in filled


@settings(deadline=None, max_examples=40)
@given(hidden=st.integers(4_096, 80_000), crash=st.integers(0, 8))
def test_single_crash_does_not_lower_the_limit(hidden: int, crash: int) -> None:
    """A failure other than memory counts when it comes back."""
    moods = [Outcome.PASSED] * crash + [Outcome.CRASHED]

    calm, _, known = search(hidden, [], "certify", Proof.ANSWER)
    report, _, limits = search(hidden, moods, "certify", Proof.ANSWER)

    assert calm is not None
    assert report is not None
    assert known.answered is not None
    assert limits.answered is not None
    assert limits.answered >= 0.9 * known.answered
