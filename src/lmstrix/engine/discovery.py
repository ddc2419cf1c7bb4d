"""Find the largest context that a model really holds: admission, journal, probes, limits.

The row of a probe is in the registry before the probe starts, and is closed however it ends, except
by the death of the process. A probe that the caller stopped is closed as `unknown`: being stopped
is no evidence against a size. Only a dead process leaves `interrupted` behind.

A full window is expensive, so a test for `fill` searches with a short question, and then fills the
largest context that answered it. Only if that fails does it search on, below, by filling.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lmstrix.engine.admission import Admission, admit, descent, describe
from lmstrix.engine.events import OnEvent, ignore
from lmstrix.engine.limits import derive_limits
from lmstrix.engine.memory import spare_bytes
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.probing import Trial, Tried, run_probe
from lmstrix.engine.strategy import Descend, Strategy
from lmstrix.errors import LMStrixError
from lmstrix.ports import Backend, Clock, Registry
from lmstrix.sizes import show_bytes
from lmstrix.values import (
    Event,
    EventKind,
    Fingerprint,
    Forecast,
    Model,
    Outcome,
    Probe,
    Proof,
    Status,
    TestReport,
)

__all__ = ["TestPlan", "run_test"]


def run_test(  # noqa: PLR0913 - the subject, the plan, and the four things a test acts upon
    model: Model,
    plan: TestPlan,
    *,
    backend: Backend,
    registry: Registry,
    clock: Clock,
    on_event: OnEvent = ignore,
) -> TestReport:
    """Test `model` as `plan` says; every probe is in the registry, whatever happens.

    The caller holds `registry.measuring(...)`. The status is `tested` if a probe of this test
    passed as `plan.proof` wants it, else `failed`; the limits also rest on earlier probes with the
    same fingerprint.

    Raises:
        RequestError: The plan cannot be followed. Nothing was loaded.
        BackendUnavailableError: The runtime was lost; the probe under way is closed.
        RegistryError: What was measured cannot be written.
    """
    began = clock.seconds()
    fingerprint = backend.fingerprint(model, plan.config).model_copy(
        update={"budget_bytes": plan.chosen_budget}
    )
    alike = partial(
        registry.probes, backend=backend.name, model=model.key, digest=fingerprint.digest
    )
    memory = backend.memory()
    spare = None if memory is None else spare_bytes(memory)
    admission = admit(model, plan, earlier=alike(), spare_bytes=spare)
    test = _Test(
        model=model,
        plan=plan,
        admission=admission,
        fingerprint=fingerprint,
        backend=backend,
        registry=registry,
        clock=clock,
        on_event=on_event,
    )
    stopped_because = test.run()
    limits = derive_limits(model.declared_context, alike(), fingerprint=fingerprint)
    test.tell("finished", stopped_because)
    return TestReport(
        model=model.key,
        status=Status.TESTED if test.proven else Status.FAILED,
        limits=limits,
        probes=tuple(test.probes),
        stopped_because=stopped_because,
        forecast=admission.forecast,
        elapsed_s=clock.seconds() - began,
    )


@dataclass(kw_only=True)
class _Test:
    """A test under way: what it works on, and the probes it has made."""

    model: Model
    plan: TestPlan
    admission: Admission
    fingerprint: Fingerprint
    backend: Backend
    registry: Registry
    clock: Clock
    on_event: OnEvent
    probes: list[Probe] = field(default_factory=list)
    total: int = 0

    def run(self) -> str:
        """Make the probes that the plan asks for; return why there are no more."""
        plan, admission = self.plan, self.admission
        self._announce(admission.forecast)
        if plan.context is not None:
            probe = self._probe(plan.context, plan.proof)
            return f"one probe at {probe.requested:,} tokens was asked for"
        search = plan.open_strategy(admission.space)
        stopped_because = self._follow(search, plan.searching)
        if admission.barred is not None:
            stopped_because += f"; a probe at {admission.barred:,} tokens was interrupted before"
        found = self._largest_loaded()
        if found is None or self._is_proven(found):
            return stopped_because
        return self._certify(found) or stopped_because

    @property
    def proven(self) -> bool:
        """Whether a probe passed as strongly as the plan wants it."""
        return self._is_proven(1)

    def tell(self, kind: EventKind, message: str, **about: Any) -> None:
        """Tell the caller what goes on, and how many probes are done."""
        done = len(self.probes)
        total = done if kind == "finished" else max(done, self.total)
        self.on_event(
            Event(kind=kind, model=self.model.key, done=done, total=total, message=message, **about)
        )

    def _announce(self, forecast: Forecast) -> None:
        self.total = len(self.probes) + forecast.probes
        self.tell("planned", describe(forecast), forecast=forecast)

    def _follow(self, strategy: Strategy, proof: Proof) -> str:
        while (context := strategy.next_context()) is not None:
            strategy.tell(self._probe(context, proof))
        return strategy.stopped_because

    def _certify(self, found: int) -> str:
        """Prove `found` as the plan wants it, or what lies below; return why that ended, if not."""
        space, forecast = descent(self.plan, self.admission, found)
        strategy = Descend(space)
        probe = self._probe(found, self.plan.proof)
        if probe.passed:
            return ""
        strategy.tell(probe)
        if strategy.next_context() is not None:
            self._announce(forecast)
        return self._follow(strategy, self.plan.proof)

    def _largest_loaded(self) -> int | None:
        """Return the largest context that was loaded, be it in place of another one."""
        loaded = [probe.requested for probe in self.probes if probe.passed]
        resized = [
            probe.effective
            for probe in self.probes
            if probe.outcome is Outcome.RESIZED and probe.effective is not None
        ]
        ceiling = self.admission.space.ceiling
        return max((size for size in loaded + resized if 0 < size <= ceiling), default=None)

    def _is_proven(self, context: int) -> bool:
        return any(
            probe.passed
            and probe.requested >= context
            and probe.proof.strength >= self.plan.proof.strength
            for probe in self.probes
        )

    def _probe(self, context: int, proof: Proof) -> Probe:
        """Make one probe, its row written before and after, however it ends."""
        opened = self._open(context, proof)
        ended, why = None, "stopped by the caller"
        try:
            tried = self._try(opened)
            ended = tried.probe
        except LMStrixError as error:
            why = str(error)
            raise
        finally:
            self.registry.close_probe(self._undecided(opened, why) if ended is None else ended)
        self.probes.append(tried.probe)
        self.tell("probe-ended", _result(tried.probe), context=context, probe=tried.probe)
        if tried.lost is not None:
            raise tried.lost
        return tried.probe

    def _open(self, context: int, proof: Proof) -> Probe:
        probe = Probe(
            model=self.model.key,
            requested=context,
            proof=proof,
            fingerprint=self.fingerprint,
            started_at=self.clock.now(),
        )
        return self.registry.open_probe(self.backend.name, probe)

    def _try(self, opened: Probe) -> Tried:
        message = f"{opened.requested:,} tokens: {opened.proof}"
        self.tell("probe-started", message, context=opened.requested, probe=opened)
        plan = self.plan
        trial = Trial(
            model=self.model,
            config=plan.config,
            budget_bytes=self.admission.cap_bytes,
            timeout_s=plan.timeout_s,
            stall_s=plan.stall_s or plan.timeout_s,
        )
        return run_probe(
            opened, trial, backend=self.backend, clock=self.clock, on_event=self.on_event
        )

    def _undecided(self, opened: Probe, why: str) -> Probe:
        end = {"outcome": Outcome.UNKNOWN, "detail": why, "ended_at": self.clock.now()}
        return Probe.model_validate({**dict(opened), **end})


def _result(probe: Probe) -> str:
    """Return how `probe` ended, for a person: `16,384 tokens: passed (1.1 GiB, 2.3 s)`."""
    figures = [] if probe.memory_bytes is None else [show_bytes(probe.memory_bytes)]
    if probe.ended_at is not None:
        figures.append(f"{(probe.ended_at - probe.started_at).total_seconds():.1f} s")
    return f"{probe.requested:,} tokens: {probe.outcome} ({', '.join(figures)})"
