"""Find the largest context that a model really holds: admission, search, proof, limits.

A full window is expensive, so a test for `fill` or `recall` searches with short questions, and then
fills the largest context that answered them. Only if that fails does it go on, below, by filling.

A test whose process died, or that its caller stopped, is resumed: its probes are told to the
strategy again, which then asks for the next one. Where only the runtime or the machine changed
since a limit was found, that limit is tried first, and if it still holds there is no search.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from lmstrix.engine.admission import Conditions, admit
from lmstrix.engine.bench import Bench
from lmstrix.engine.evidence import to_verify
from lmstrix.engine.forecast import descent, reforecast
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.prober import Prober
from lmstrix.engine.recall import recall_limit, usable_at_speed
from lmstrix.engine.resuming import SearchRecord
from lmstrix.engine.room import held_by_others
from lmstrix.engine.strategy import Descend
from lmstrix.values import Forecast, Limits, Model, Outcome, Probe, Proof, Status, TestReport

__all__ = ["ContextTest", "TestPlan", "run_test"]

_THOROUGH: Final = frozenset({"bisect", "exact"})
"""Strategies that want the last token of a window, whatever it costs to fill windows for it."""


def run_test(model: Model, plan: TestPlan, bench: Bench) -> TestReport:
    """Test `model` as `plan` says; every probe is in the registry, whatever happens.

    The caller holds `registry.measuring(...)`. The status is `tested` if a probe of this test
    passed as `plan.proof` wants it, else `failed`; the limits also rest on earlier probes with the
    same fingerprint.

    Raises:
        RequestError: The plan cannot be followed. Nothing was loaded.
        UnsafeError: The machine lacks the memory to try. Nothing was loaded.
        BackendUnavailableError: The runtime was lost; the probe under way is closed.
        RegistryError: What was measured cannot be written.
    """
    test = ContextTest(model, plan, bench)
    test.search()
    test.prove()
    return test.finish()


class ContextTest:
    """One test of one model, in two steps that a batch takes for all models in turn.

    Attributes:
        model: What is tested.
        admission: What it may do, and at what cost.
    """

    def __init__(self, model: Model, plan: TestPlan, bench: Bench) -> None:
        self.model = model
        self._plan = plan
        self._wanted = plan.proof
        self._bench = bench
        self._fingerprint = bench.backend.fingerprint(model, plan.config).model_copy(
            update={"budget_bytes": plan.chosen_budget}
        )
        subject = (bench.backend.name, model.key, self._fingerprint.digest)
        self._record = SearchRecord(bench.registry, subject, plan)
        self._prior = bench.backend.prior(model, plan.config)
        self._conditions = Conditions(memory=bench.backend.memory(), held=held_by_others(bench))
        self.admission = admit(
            model,
            plan,
            earlier=self._alike(),
            prior=self._prior,
            conditions=self._conditions,
        )
        self._prober = Prober(
            model, plan, bench, fingerprint=self._fingerprint, memory=self._conditions.memory
        )
        self._telling = self._prober.telling
        self._spent_s = 0.0
        self._status = model.status
        self._stopped_because = "nothing was loaded: only the forecast was asked for"

    @property
    def is_done_already(self) -> bool:
        """Whether the same was found out before, with the same fingerprint."""
        wanted = self._plan.context
        if wanted is None:
            return self._record.is_done()
        return (_limit(self._limits(), self._plan.proof) or 0) >= wanted

    def search(self) -> None:
        """Find the largest context that passes the cheaper proof, or make the one probe asked for.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe under way is closed.
            RegistryError: What was measured cannot be written.
        """
        with self._timed():
            self._search()
            self._judge(Status.TESTING)

    def prove(self) -> None:
        """Prove what was found as strongly as the plan wants it, or what lies below.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe under way is closed.
            RegistryError: What was measured cannot be written.
        """
        with self._timed():
            if self._plan.context is None:
                self._prove()
                self._record.end()
            self._judge(Status.FAILED)

    def report(self) -> TestReport:
        """Return what was found so far."""
        return TestReport(
            model=self.model.key,
            status=self._status,
            limits=self._limits(),
            probes=tuple(self._prober.probes),
            stopped_because=self._stopped_because,
            forecast=self.admission.forecast,
            usable_at_speed=self._usable_at_speed(),
            elapsed_s=self._spent_s,
        )

    def finish(self) -> TestReport:
        """Return what was found, and tell that this was all."""
        report = self.report()
        self._telling.finish(report)
        return report

    def _search(self) -> None:
        self._telling.note(self._conditions.describe(self.admission.cap_bytes))
        self._telling.announce(self.admission.forecast)
        if self._plan.context is not None:
            self._probe(self._plan.context, self._plan.proof)
            self._stopped_because = f"one probe at {self._plan.context:,} tokens was asked for"
        elif not self._resume() and self._verify():
            self._record.end()
        else:
            self._stopped_because = self._follow()
            if self.admission.barred is not None:
                self._stopped_because += (
                    f"; a probe at {self.admission.barred:,} tokens was interrupted before"
                )

    def _prove(self) -> None:
        found = self._prober.largest_loaded(self.admission.space.ceiling)
        if found is None:
            return
        why_searched = self._stopped_because
        self._descend(found)
        if (told := _immeasurable(self._prober.probes)) is not None:
            self._wanted, self._stopped_because = Proof.FILL, why_searched
            self._descend(found)
            self._stopped_because += f"; {told}"

    def _judge(self, otherwise: Status) -> None:
        """Say where the test stands: `tested` if what is wanted is proved."""
        self._status = Status.TESTED if self._prober.has_passed(self._wanted) else otherwise

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._bench.clock.seconds()
        try:
            yield
        finally:
            self._spent_s += self._bench.clock.seconds() - began

    def _usable_at_speed(self) -> int | None:
        filled = [probe for probe in self._prober.probes if probe.passed and probe.stairs]
        if self._plan.min_tps is None or not filled:
            return None
        largest = max(filled, key=lambda probe: probe.requested)
        return usable_at_speed(largest.stairs, self._plan.min_tps)

    def _alike(self) -> list[Probe]:
        """Return the recorded probes of this model with the same fingerprint, oldest first."""
        registry, name = self._bench.registry, self._bench.backend.name
        digest = self._fingerprint.digest
        return list(registry.probes(backend=name, model=self.model.key, digest=digest))

    def _limits(self) -> Limits:
        declared = self.model.declared_context
        return derive_limits(declared, self._alike(), fingerprint=self._fingerprint)

    def _probe(self, context: int, proof: Proof) -> Probe:
        return self._prober.probe(context, proof, cap_bytes=self.admission.cap_bytes)

    def _resume(self) -> bool:
        """Take up the probes of the same search, if it was broken off; return whether it was."""
        self._prober.keep(self._record.begin(self._alike()))
        kept = len(self._prober.probes)
        if kept:
            plural = "" if kept == 1 else "s"
            self._telling.note(f"going on after {kept} probe{plural} of an interrupted search")
        return kept > 0

    def _verify(self) -> bool:
        """Try the limit that was found before something changed; return whether it holds."""
        stored = self._bench.registry.limits_of(self._bench.backend.name, self.model.key)
        old = None if self._plan.reset else to_verify(stored, self._fingerprint)
        known = None if old is None else _limit(old, self._plan.proof)
        if old is None or known is None or known > self.admission.space.ceiling:
            return False
        before = old.fingerprint.runtime if old.fingerprint else "an unknown runtime"
        self._telling.note(f"trying whether the {known:,} tokens found with {before} still hold")
        if not self._probe(known, self._plan.proof).passed:
            return False
        self._stopped_because = f"{known:,} tokens, found with {before}, still hold"
        return True

    def _follow(self) -> str:
        """Let the plan's strategy probe until it has seen enough; return why it has."""
        strategy = self._plan.open_strategy(self.admission.space)
        proof = self._plan.searching
        for probe in self._prober.probes:
            if probe.proof is proof:
                strategy.tell(self._when_full(probe))
        untimed = self.admission.forecast.seconds is None
        while (context := strategy.next_context()) is not None:
            strategy.tell(self._when_full(self._probe(context, proof)))
            if untimed and strategy.next_context() is not None:
                untimed = False
                self._telling.announce(self._reforecast())
        return strategy.stopped_because

    def _reforecast(self) -> Forecast:
        return reforecast(self._plan, self.admission.space, self._prober.probes)

    def _when_full(self, probe: Probe) -> Probe:
        """Return `probe` with the memory that it would take with its whole window read.

        So the search for a window to fill keeps room for what filling takes.
        """
        prior, taken = self._prior, probe.memory_bytes
        if prior is None or taken is None or probe.proof is self._plan.proof:
            return probe
        filling = prior.filling_fixed + prior.filling * (probe.effective or probe.requested)
        return probe.model_copy(update={"memory_bytes": taken + round(filling)})

    def _descend(self, found: int) -> None:
        """Prove `found` as is wanted, or else the largest context below that can be."""
        if self._prober.has_passed(self._wanted, context=found):
            return
        space, cost = descent(self._plan, self.admission.space, found, self._prober.probes)
        strategy = Descend(space, thorough=self._plan.strategy in _THOROUGH)
        for probe in self._prober.probes:
            if probe.proof is self._wanted:
                strategy.tell(probe)
        announced = False
        while (context := strategy.next_context()) is not None:
            strategy.tell(self._probe(context, self._wanted))
            if not announced and strategy.next_context() is not None:
                announced = True
                self._telling.announce(cost)
        if not self._prober.has_passed(self._wanted, context=found):
            self._stopped_because = strategy.stopped_because


def _immeasurable(probes: Sequence[Probe]) -> str | None:
    """Return why nothing can be said of recall, if the last probe has shown that."""
    last = probes[-1] if probes else None
    if last is None or last.proof is not Proof.RECALL or last.outcome is not Outcome.UNKNOWN:
        return None
    return last.detail if last.stairs and recall_limit(last.stairs) is None else None


def _limit(limits: Limits, proof: Proof) -> int | None:
    """Return the limit for `proof`."""
    match proof:
        case Proof.LOAD:
            return limits.loadable
        case Proof.ANSWER:
            return limits.answered
        case Proof.FILL:
            return limits.usable
        case Proof.RECALL:
            return limits.recall
