"""Hidden limits to search for, and the laws of memory behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from lmstrix.engine.strategy import SearchSpace, Strategy
from lmstrix.ports import Prior
from lmstrix.values import Outcome, Probe, Proof

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
CAREFUL = ("certify", "climb", "exact")
TOKENS = st.integers(1, 1 << 20)


def ended(
    requested: int,
    outcome: Outcome = Outcome.PASSED,
    *,
    effective: int | None = None,
    taken: int | None = None,
) -> Probe:
    """Return a probe that ended so."""
    return Probe(
        model="m",
        requested=requested,
        effective=effective or requested,
        proof=Proof.FILL,
        outcome=outcome,
        memory_bytes=taken,
        started_at=NOON,
        ended_at=NOON,
    )


@dataclass(frozen=True, kw_only=True)
class Law:
    """Memory by a straight line, and a budget that it meets. Sizes in bytes."""

    fixed: int
    per_token: int
    budget: int

    def takes(self, context: int) -> int:
        """Return what a load of that context takes."""
        return self.fixed + self.per_token * context

    @property
    def limit(self) -> int:
        """The largest context within the budget, in tokens; 0 if there is none."""
        return max(0, (self.budget - self.fixed) // self.per_token)

    def probe(self, context: int) -> Probe:
        """Load at `context`."""
        if context > self.limit:
            return ended(context, Outcome.OUT_OF_MEMORY)
        return ended(context, taken=self.takes(context))


@st.composite
def laws(draw: st.DrawFn, highest: int = 1 << 21) -> Law:
    """Any limit; the fixed part is 30 to 85 % of the budget."""
    limit = draw(st.integers(0, highest))
    per_token = draw(st.integers(1 << 8, 1 << 18))
    growing = per_token * max(limit, 1) + draw(st.integers(0, per_token - 1))
    fixed = round(growing * draw(st.floats(0.43, 5.6)))
    return Law(fixed=fixed, per_token=per_token, budget=fixed + growing - per_token * (limit == 0))


def priors(law: Law) -> st.SearchStrategy[Prior]:
    """Estimates within two of their errors, with or without the fixed part."""
    factor = st.floats(0.5, 1.5)
    return st.builds(
        Prior,
        bytes_per_token=factor.map(lambda part: law.per_token * part),
        fixed_bytes=st.none() | st.just(law.fixed),
    )


@st.composite
def guided(draw: st.DrawFn, *, prior: bool = True) -> tuple[Law, SearchSpace]:
    """A law, and a space to search that is told its budget, and perhaps a prior."""
    law = draw(laws())
    return law, SearchSpace(
        ceiling=draw(TOKENS),
        granularity=draw(st.integers(1, 8_192)),
        threshold=draw(st.integers(2, 1 << 20)),
        floor=draw(st.integers(1, 8_192)),
        budget_bytes=law.budget,
        prior=draw(priors(law)) if prior and draw(st.booleans()) else None,
    )


def play(strategy: Strategy, answer: Callable[[int], Probe], *, most: int = 300) -> list[Probe]:
    """Search where `answer` tells what a context ends in; return the probes made."""
    probes: list[Probe] = []
    while (context := strategy.next_context()) is not None:
        assert not strategy.stopped_because
        assert len(probes) < most, f"the search does not end: {[p.requested for p in probes[-9:]]}"
        probes.append(answer(context))
        strategy.tell(probes[-1])
    assert strategy.stopped_because
    return probes


def standing(probes: list[Probe]) -> int:
    """Return the largest pass that no later failure, at its context or below, has discarded."""
    passes: set[int] = set()
    for probe in probes:
        if probe.passed:
            passes.add(probe.requested)
        elif probe.outcome is not None and probe.outcome.refutes:
            passes = {passed for passed in passes if passed < probe.requested}
    return max(passes, default=0)


def assert_repeatable(open_one: Callable[[], Strategy], history: Sequence[Probe], top: int) -> None:
    """Assert that two strategies told the same ask for the same, soundly, up to `top` tokens."""
    one, two = open_one(), open_one()
    for probe in history:
        one.tell(probe)
        two.tell(probe)

    context = one.next_context()

    assert context == two.next_context() == one.next_context()
    assert (context is None) == bool(one.stopped_because)
    assert context is None or 1 <= context <= top
