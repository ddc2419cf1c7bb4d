"""Probes that are recorded: the row is in the registry before the probe starts.

It is closed however the probe ends, except by the death of the process: only that leaves
`interrupted` behind. A probe that the caller stopped is closed as `unknown`, for being stopped is
no evidence against a size.
"""

from lmstrix.engine.bench import Bench
from lmstrix.engine.probing import Trial, run_probe
from lmstrix.errors import LMStrixError
from lmstrix.ports import Clock
from lmstrix.sizes import show_bytes
from lmstrix.values import Event, Fingerprint, Outcome, Probe, Proof


def record_probe(
    context: int, proof: Proof, *, trial: Trial, fingerprint: Fingerprint, bench: Bench
) -> Probe:
    """Make one probe of `trial` at `context` tokens, and return it as it was recorded.

    Raises:
        BackendUnavailableError: The runtime was lost; the probe is closed as `unavailable`.
        RegistryError: The row cannot be written.
    """
    opened = bench.registry.open_probe(
        bench.backend.name,
        Probe(
            model=trial.model.key,
            requested=context,
            proof=proof,
            fingerprint=fingerprint,
            started_at=bench.clock.now(),
        ),
    )
    ended: Probe | None = None
    why = "stopped by the caller"
    try:
        bench.on_event(_started(opened))
        tried = run_probe(
            opened, trial, backend=bench.backend, clock=bench.clock, on_event=bench.on_event
        )
        ended = tried.probe
    except LMStrixError as error:
        why = str(error)
        raise
    finally:
        closed = _undecided(opened, why, bench.clock) if ended is None else ended
        bench.registry.close_probe(closed)
    bench.on_event(_ended(tried.probe))
    if tried.lost is not None:
        raise tried.lost
    return tried.probe


def _undecided(opened: Probe, why: str, clock: Clock) -> Probe:
    end = {"outcome": Outcome.UNKNOWN, "detail": why, "ended_at": clock.now()}
    return Probe.model_validate({**dict(opened), **end})


def _started(probe: Probe) -> Event:
    return Event(
        kind="probe-started",
        model=probe.model,
        context=probe.requested,
        message=f"{probe.requested:,} tokens: {probe.proof}",
        probe=probe,
    )


def _ended(probe: Probe) -> Event:
    """Tell how `probe` ended, for a person: `16,384 tokens: passed (1.1 GiB, 2.3 s)`."""
    figures = [] if probe.memory_bytes is None else [show_bytes(probe.memory_bytes)]
    if probe.ended_at is not None:
        figures.append(f"{(probe.ended_at - probe.started_at).total_seconds():.1f} s")
    return Event(
        kind="probe-ended",
        model=probe.model,
        context=probe.requested,
        message=f"{probe.requested:,} tokens: {probe.outcome} ({', '.join(figures)})",
        probe=probe,
    )
