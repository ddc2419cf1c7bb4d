"""The probes of one test: made, recorded, kept."""

from dataclasses import replace

from lmstrix.engine.bench import Bench
from lmstrix.engine.journal import record_probe
from lmstrix.engine.memory import spare_bytes
from lmstrix.engine.plan import TestPlan
from lmstrix.engine.probing import Trial
from lmstrix.engine.telling import Telling
from lmstrix.engine.watch import Watch
from lmstrix.values import Fingerprint, Model, Outcome, Probe, Proof


class Prober:
    """Makes the probes of one test.

    Attributes:
        probes: Those made so far, and those of the search that is resumed, oldest first.
        telling: Tells what goes on.

    Args:
        model: What is probed.
        plan: How.
        bench: What is acted upon.
        fingerprint: What the probes hold for.
    """

    def __init__(
        self, model: Model, plan: TestPlan, bench: Bench, *, fingerprint: Fingerprint
    ) -> None:
        self.probes: list[Probe] = []
        self.telling = Telling(model.key, bench.on_event)
        self._model = model
        self._plan = plan
        self._bench = replace(bench, on_event=self.telling.relay)
        self._fingerprint = fingerprint

    def probe(self, context: int, proof: Proof, *, cap_bytes: int | None) -> Probe:
        """Make one probe within `cap_bytes` of memory, or what is spare now, and keep it.

        Raises:
            BackendUnavailableError: The runtime was lost; the probe is closed as `unavailable`.
            RegistryError: The row cannot be written.
        """
        probe = record_probe(
            context,
            proof,
            trial=self._trial(cap_bytes),
            fingerprint=self._fingerprint,
            bench=self._bench,
        )
        self.keep([probe])
        return probe

    def keep(self, probes: list[Probe]) -> None:
        """Count `probes` among those of this test."""
        self.probes += probes
        self.telling.ended = len(self.probes)

    def has_passed(self, proof: Proof, *, context: int = 1) -> bool:
        """Whether a probe passed at `context` or above, as strongly as `proof`."""
        return any(
            probe.passed and probe.requested >= context and probe.proof.strength >= proof.strength
            for probe in self.probes
        )

    def largest_loaded(self, ceiling: int) -> int | None:
        """Return the largest context up to `ceiling` that was loaded, be it in place of another.

        An interrupted probe may have lowered the ceiling below what had passed before.
        """
        standing: list[int] = []
        for probe in self.probes:
            if probe.passed:
                standing.append(probe.requested)
            elif probe.outcome is Outcome.OUT_OF_MEMORY:
                standing = [size for size in standing if size < probe.requested]
        sizes = [min(size, ceiling) for size in standing]
        resized = [p.effective or 0 for p in self.probes if p.outcome is Outcome.RESIZED]
        sizes += [size for size in resized if 0 < size <= ceiling]
        return max(sizes, default=None)

    def _trial(self, cap_bytes: int | None) -> Trial:
        plan, bench = self._plan, self._bench
        memory = bench.backend.memory()
        if cap_bytes is not None and memory is not None:
            cap_bytes = min(cap_bytes, spare_bytes(memory))
        return Trial(
            model=self._model,
            config=plan.config,
            budget_bytes=cap_bytes,
            timeout_s=plan.timeout_s,
            stall_s=plan.stall_s or plan.timeout_s,
            document=plan.document,
            question=plan.question,
            watch=Watch(bench.backend.memory, memory, seconds=bench.clock.seconds),
        )
