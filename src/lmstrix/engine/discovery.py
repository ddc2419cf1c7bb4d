"""Find the largest context that a model really holds: admission, search, proof, limits.

A full window is expensive, so a test for `fill` or `recall` searches with short questions, and then
fills the largest context that answered them. Only if that fails does it go on, below, by filling.

A test whose process died, or that its caller stopped, is resumed: its probes are told to the
strategy again, which then asks for the next one. Where only the runtime or the machine changed
since a limit was found, that limit is tried first, and if it still holds there is no search.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from lmstrix.engine.admission import admit
from lmstrix.engine.bench import Bench
from lmstrix.engine.evidence import may_verify, to_verify
from lmstrix.engine.forecast import descent, reforecast
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.prober import Prober
from lmstrix.engine.recall import immeasurable, usable_at_speed
from lmstrix.engine.resuming import SearchRecord
from lmstrix.engine.room import conditions_now
from lmstrix.engine.strategy import Descend
from lmstrix.values import Forecast, Limits, Model, Probe, Proof, Status, TestReport

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
        self._fingerprint = plan.conditions(bench.backend.fingerprint(model, plan.config))
        subject = (bench.backend.name, model.key, self._fingerprint.digest)
        self._record = SearchRecord(bench.registry, subject, plan)
        self._prior = bench.backend.prior(model, plan.config)
        self._conditions = conditions_now(bench)
        self.admission = admit(
            model,
            plan,
            earlier=self._alike(),
            prior=self._prior,
            conditions=self._conditions,
        )
        self._prober = Prober(model, plan, bench, fingerprint=self._fingerprint)
        self._telling = self._prober.telling
        self._spent_s = 0.0
        self._ended = False
        self._status = model.status
        self._stopped_because = "nothing was loaded: only the forecast was asked for"

    @property
    def is_done_already(self) -> bool:
        """Whether the same was found out before, with the same fingerprint."""
        wanted = self._plan.context
        known = self._limits().of(self._plan.proof)
        if wanted is None:
            return self._record.is_done(known=known is not None)
        return (known or 0) >= wanted

    def search(self) -> None:
        """Find the largest context that passes the cheaper proof, or make the one probe asked for.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe under way is closed.
            RegistryError: What was measured cannot be written.
        """
        with self._timed(), self._judged():
            self._stopped_because = "the test was broken off"
            self._search()

    def prove(self) -> None:
        """Prove what was found as strongly as the plan wants it, or what lies below.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe under way is closed.
            RegistryError: What was measured cannot be written.
        """
        self._ended = True
        with self._timed(), self._judged():
            if self._plan.context is None:
                self._prove()
                if self._prober.probes and self._prober.probes[-1].decides:
                    self._record.end()

    @property
    def has_probed(self) -> bool:
        """Whether a probe of this test has ended."""
        return bool(self._prober.probes)

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
            self._probe_once(self._plan.context)
        elif not self._holds_still():
            self._stopped_because = self._follow()
            if self.admission.barred is not None:
                self._stopped_because += (
                    f"; a probe at {self.admission.barred:,} tokens was interrupted before"
                )

    def _probe_once(self, context: int) -> None:
        probe = self._probe(context, self._plan.proof)
        self._stopped_because = f"one probe at {context:,} tokens was asked for: {probe.outcome}"
        self._record.set_aside(probe)
        if (told := immeasurable(probe)) is not None:
            self._wanted = Proof.FILL
            self._record.set_aside(self._probe(context, Proof.FILL))
            self._stopped_because += f"; {told}"

    def _prove(self) -> None:
        found = self._prober.largest_loaded(self.admission.space.ceiling)
        if found is None:
            return
        why_searched = self._stopped_because
        self._descend(found)
        if (told := immeasurable(self._prober.probes[-1])) is not None:
            self._wanted, self._stopped_because = Proof.FILL, f"{why_searched}; {told}"
            self._descend(found)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Say afterwards where the test stands: `tested` if what is wanted is proved."""
        unproved = Status.INTERRUPTED
        try:
            yield
            unproved = Status.TESTING if self._goes_on() else Status.FAILED
        finally:
            proved = self._prober.has_passed(self._wanted)
            self._status = Status.TESTED if proved else unproved

    def _goes_on(self) -> bool:
        """Whether there is something left to prove."""
        found = self._prober.largest_loaded(self.admission.space.ceiling)
        return not self._ended and self._plan.context is None and found is not None

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

    def _holds_still(self) -> bool:
        """Whether a limit found before something changed is all that has to be known.

        A search that was broken off is taken up instead; what it began with may have been that.
        """
        self._prober.keep(self._record.begin(self._alike(), self.admission.cap_bytes))
        kept = self._prober.probes
        if not kept:
            return self._verify()
        plural = "" if len(kept) == 1 else "s"
        self._telling.note(f"going on after {len(kept)} probe{plural} of an interrupted search")
        first, plan = kept[0], self._plan
        if not first.passed or first.proof in {plan.searching, Proof.LOAD}:
            return False
        self._stopped_because = f"{first.requested:,} tokens, found before, still hold"
        return True

    def _verify(self) -> bool:
        """Try the limit that was found before something changed; return whether it holds."""
        stored = self._bench.registry.limits_of(self._bench.backend.name, self.model.key)
        old = None if self._plan.reset else to_verify(stored, self._fingerprint)
        # A window is recalled from as deep as it is: fill all of it.
        proof = Proof.FILL if self._plan.proof is Proof.RECALL else self._plan.proof
        known = None if old is None else old.of(proof)
        if old is None or known is None or not self._was_searched_for(old):
            return False
        if not may_verify(known, old, self._fingerprint, self.admission.space, self.model):
            return False
        before = old.fingerprint.runtime if old.fingerprint else "an unknown runtime"
        self._telling.note(f"trying whether the {known:,} tokens found with {before} still hold")
        if not self._probe(known, self._plan.proof).passed:
            return False
        self._stopped_because = f"{known:,} tokens, found with {before}, still hold"
        return True

    def _was_searched_for(self, old: Limits) -> bool:
        """Whether the same search, run to its end, found `old`."""
        if old.fingerprint is None:
            return False
        subject = (self._bench.backend.name, self.model.key, old.fingerprint.digest)
        record = SearchRecord(self._bench.registry, subject, self._plan)
        return record.is_done(known=True)

    def _follow(self) -> str:
        """Let the plan's strategy probe until it has seen enough; return why it has."""
        strategy = self._plan.open_strategy(self.admission.space)
        proof = self._plan.searching
        for probe in self._prober.probes:
            if probe.proof is proof and probe.decides:
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
            if probe.proof is self._wanted and probe.decides:
                strategy.tell(probe)
        announced = False
        while (context := strategy.next_context()) is not None:
            strategy.tell(self._probe(context, self._wanted))
            if not announced and strategy.next_context() is not None:
                announced = True
                self._telling.announce(cost)
        reasons = [self._stopped_because, *strategy.notes]
        if not self._prober.has_passed(self._wanted, context=found):
            reasons.insert(0, strategy.stopped_because)
        self._stopped_because = "; ".join(dict.fromkeys(reasons))
