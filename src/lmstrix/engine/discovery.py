"""Find the largest context that a model really holds: plan, journal, probe, conclude."""

from dataclasses import dataclass, field

from lmstrix.engine.events import OnEvent, ignore
from lmstrix.engine.limits import derive_limits, status_of
from lmstrix.errors import ModelLoadError, RequestError
from lmstrix.ports import Backend, Clock, LoadRequest, Registry
from lmstrix.values import Event, LoadConfig, Model, Outcome, Probe, Proof, TestReport


@dataclass(frozen=True, kw_only=True)
class TestPlan:
    """How to test. Contexts in tokens, the budget in bytes, times in seconds."""

    __test__ = False  # pytest: not a test class

    proof: Proof = Proof.FILL
    strategy: str = "bisect"
    context: int | None = None
    """One probe at this context; None searches."""
    threshold: int = 102_400
    granularity: int = 1_024
    config: LoadConfig = field(default_factory=LoadConfig)
    chosen_budget: int | None = None
    timeout_s: float = 600.0
    stall_s: float | None = None
    force: bool = False


def run_test(  # noqa: PLR0913 - the ports, the subject and the plan are its whole context
    model: Model,
    plan: TestPlan,
    *,
    backend: Backend,
    registry: Registry,
    clock: Clock,
    on_event: OnEvent = ignore,
) -> TestReport:
    """Test `model` as `plan` says."""
    context = plan.context or model.declared_context
    if context is None:
        raise RequestError("the model declares no context", hint="say one with `--ctx`")
    fingerprint = backend.fingerprint(model, plan.config)
    began = clock.seconds()
    probe = registry.open_probe(
        backend.name,
        Probe(
            model=model.key,
            requested=min(context, plan.threshold),
            proof=Proof.LOAD,
            fingerprint=fingerprint,
            started_at=clock.now(),
        ),
    )
    on_event(Event(kind="probe-started", model=model.key, context=probe.requested, probe=probe))
    request = LoadRequest(
        context=probe.requested,
        config=plan.config,
        budget_bytes=plan.chosen_budget,
        timeout_s=plan.timeout_s,
    )
    end: dict[str, object] = {"outcome": Outcome.UNKNOWN}
    try:
        copy = backend.load(model, request)
        end = {"outcome": Outcome.PASSED, "effective": copy.context, "load_s": copy.load_s}
        copy.unload()
    except ModelLoadError as error:
        end = {"outcome": Outcome(error.outcome), "detail": str(error)}
    finally:
        probe = probe.model_copy(update={**end, "ended_at": clock.now()})
        registry.close_probe(probe)
    on_event(Event(kind="probe-ended", model=model.key, context=probe.requested, probe=probe))
    probes = registry.probes(model=model.key, digest=fingerprint.digest)
    limits = derive_limits(model.declared_context, probes, fingerprint=fingerprint)
    report = TestReport(
        model=model.key,
        status=status_of(probes, limits),
        limits=limits,
        probes=(probe,),
        stopped_because="one probe was asked for",
        forecast=None,
        elapsed_s=clock.seconds() - began,
    )
    on_event(Event(kind="finished", model=model.key, message=report.stopped_because))
    return report
