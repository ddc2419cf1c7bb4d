"""Find the largest context that a model really holds: admission, search, proof, limits.

A full window is expensive, so a test for `fill` or `recall` searches with short questions, and then
fills the largest context that answered them. Only if that fails does it go on, below, by filling.

A test whose process died, or that its caller stopped, is resumed: its probes are told to the
strategy again, which then asks for the next one. Where only the runtime or the machine changed
since a limit was found, that limit is tried first, and if it still holds there is no search.
"""

from dataclasses import replace

from lmstrix.engine.admission import Conditions, admit
from lmstrix.engine.bench import Bench
from lmstrix.engine.evidence import to_verify
from lmstrix.engine.forecast import descent, describe
from lmstrix.engine.journal import record_probe
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.probing import Trial
from lmstrix.engine.resuming import SearchRecord
from lmstrix.engine.strategy import Descend, Strategy
from lmstrix.values import (
    Event,
    Forecast,
    Limits,
    Model,
    Outcome,
    Probe,
    Proof,
    Status,
    TestReport,
)

__all__ = ["ContextTest", "TestPlan", "run_test"]


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
        probes: Its probes so far, those of the search it resumed included.
    """

    def __init__(self, model: Model, plan: TestPlan, bench: Bench) -> None:
        self.model = model
        self.probes: list[Probe] = []
        self._plan = plan
        self._bench = replace(bench, on_event=self._relay)
        self._on_event = bench.on_event
        self._began = bench.clock.seconds()
        self._fingerprint = bench.backend.fingerprint(model, plan.config).model_copy(
            update={"budget_bytes": plan.chosen_budget}
        )
        subject = (bench.backend.name, model.key, self._fingerprint.digest)
        self._record = SearchRecord(bench.registry, subject, plan)
        self._prior = bench.backend.prior(model, plan.config)
        self.admission = admit(
            model,
            plan,
            earlier=self._alike(),
            prior=self._prior,
            conditions=Conditions(memory=bench.backend.memory()),
        )
        self._total = 0
        self._ended = False
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
        self._announce(self.admission.forecast)
        if self._plan.context is not None:
            self._probe(self._plan.context, self._plan.proof)
            self._stopped_because = f"one probe at {self._plan.context:,} tokens was asked for"
        elif not self._resume() and self._verify():
            self._record.end()
        else:
            self._stopped_because = self._follow(
                self._plan.open_strategy(self.admission.space), self._plan.searching
            )
            if self.admission.barred is not None:
                self._stopped_because += (
                    f"; a probe at {self.admission.barred:,} tokens was interrupted before"
                )

    def prove(self) -> None:
        """Prove what was found as strongly as the plan wants it, or what lies below.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe under way is closed.
            RegistryError: What was measured cannot be written.
        """
        self._ended = True
        if self._plan.context is not None:
            return
        found = self._largest_loaded()
        if found is not None and not self._is_proven(found):
            self._descend(found)
        self._record.end()

    def report(self) -> TestReport:
        """Return what was found so far."""
        return TestReport(
            model=self.model.key,
            status=self._status(),
            limits=self._limits(),
            probes=tuple(self.probes),
            stopped_because=self._stopped_because,
            forecast=self.admission.forecast,
            usable_at_speed=None,
            elapsed_s=self._bench.clock.seconds() - self._began,
        )

    def finish(self) -> TestReport:
        """Return what was found, and tell that this was all."""
        report = self.report()
        done = len(self.probes)
        self._on_event(
            Event(
                kind="finished",
                model=self.model.key,
                done=done,
                total=done,
                message=report.stopped_because,
                report=report,
            )
        )
        return report

    def _status(self) -> Status:
        if self._is_proven(1):
            return Status.TESTED
        return Status.FAILED if self._ended else Status.TESTING

    def _alike(self) -> list[Probe]:
        """Return the recorded probes of this model with the same fingerprint, oldest first."""
        registry, name = self._bench.registry, self._bench.backend.name
        digest = self._fingerprint.digest
        return list(registry.probes(backend=name, model=self.model.key, digest=digest))

    def _limits(self) -> Limits:
        declared = self.model.declared_context
        return derive_limits(declared, self._alike(), fingerprint=self._fingerprint)

    def _resume(self) -> bool:
        """Take up the probes of the same search, if it was broken off; return whether it was."""
        self.probes += self._record.begin(self._alike())
        if self.probes:
            self._note(f"going on after {len(self.probes)} probes of an interrupted search")
        return bool(self.probes)

    def _verify(self) -> bool:
        """Try the limit that was found before something changed; return whether it holds."""
        stored = self._bench.registry.limits_of(self._bench.backend.name, self.model.key)
        old = None if self._plan.reset else to_verify(stored, self._fingerprint)
        known = None if old is None else _limit(old, self._plan.proof)
        if old is None or known is None or known > self.admission.space.ceiling:
            return False
        before = old.fingerprint.runtime if old.fingerprint else "an unknown runtime"
        self._note(f"{known:,} tokens were found with {before}: trying whether they still hold")
        if not self._probe(known, self._plan.proof).passed:
            return False
        self._stopped_because = f"{known:,} tokens, found with {before}, still hold"
        return True

    def _follow(self, strategy: Strategy, proof: Proof) -> str:
        """Let `strategy` probe until it has seen enough; return why it has."""
        for probe in self.probes:
            if probe.proof is proof:
                strategy.tell(self._when_full(probe))
        while (context := strategy.next_context()) is not None:
            strategy.tell(self._when_full(self._probe(context, proof)))
        return strategy.stopped_because

    def _when_full(self, probe: Probe) -> Probe:
        """Return `probe` with the memory that it would take with its whole window read.

        So the search for a window to fill keeps room for what filling takes.
        """
        if self._prior is None or probe.memory_bytes is None or probe.proof is self._plan.proof:
            return probe
        filling = round(self._prior.filling * (probe.effective or probe.requested))
        return probe.model_copy(update={"memory_bytes": probe.memory_bytes + filling})

    def _descend(self, found: int) -> None:
        space, forecast = descent(self._plan, self.admission.space, found)
        failed = any(probe.proof is self._plan.proof for probe in self.probes)
        strategy = Descend(space)
        for probe in self.probes:
            if probe.proof is self._plan.proof:
                strategy.tell(probe)
        while (context := strategy.next_context()) is not None:
            if failed:
                self._announce(forecast)
            probe = self._probe(context, self._plan.proof)
            strategy.tell(probe)
            failed = not failed and not probe.passed
        if not self._is_proven(found):
            self._stopped_because = strategy.stopped_because

    def _largest_loaded(self) -> int | None:
        """Return the largest context that was loaded, be it in place of another one."""
        loaded = [probe.requested for probe in self.probes if probe.passed]
        resized = [
            probe.effective
            for probe in self.probes
            if probe.outcome is Outcome.RESIZED and probe.effective is not None
        ]
        # An interrupted probe has lowered the ceiling, perhaps below what had passed before.
        ceiling = self.admission.space.ceiling
        sizes = [min(size, ceiling) for size in loaded + [r for r in resized if r <= ceiling]]
        return max((size for size in sizes if size > 0), default=None)

    def _is_proven(self, context: int) -> bool:
        return any(
            probe.passed
            and probe.requested >= context
            and probe.proof.strength >= self._plan.proof.strength
            for probe in self.probes
        )

    def _probe(self, context: int, proof: Proof) -> Probe:
        plan = self._plan
        trial = Trial(
            model=self.model,
            config=plan.config,
            budget_bytes=self.admission.cap_bytes,
            timeout_s=plan.timeout_s,
            stall_s=plan.stall_s or plan.timeout_s,
        )
        probe = record_probe(
            context, proof, trial=trial, fingerprint=self._fingerprint, bench=self._bench
        )
        self.probes.append(probe)
        return probe

    def _announce(self, forecast: Forecast) -> None:
        self._total = len(self.probes) + forecast.probes
        event = Event(
            kind="planned",
            model=self.model.key,
            message=describe(forecast),
            forecast=forecast,
        )
        self._on_event(self._counted(event, len(self.probes)))

    def _note(self, message: str) -> None:
        self._on_event(Event(kind="noted", model=self.model.key, message=message))

    def _relay(self, event: Event) -> None:
        """Pass `event` on; one about a probe, with how many there were of how many."""
        if event.kind in {"probe-started", "probe-ended"}:
            event = self._counted(event, len(self.probes) + (event.kind == "probe-ended"))
        self._on_event(event)

    def _counted(self, event: Event, done: int) -> Event:
        return event.model_copy(update={"done": done, "total": max(done, self._total)})


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
