"""What probes prove: the limits, and where testing stands. Pure.

The definition that users rely on:

**Order.** Probes are replayed in the order they ended. The latest evidence wins: memory is freed,
drivers change, and what happened last is the best guess at what happens next.

**Pass.** A probe that `passed` counts for its own proof and the weaker ones (a full window answered
proves that the model loads), at its *effective* context. llama.cpp rounds a context up to a
multiple of 256, so a load that came out up to 255 tokens above the declared limit holds the
declared limit, and no more is claimed for it.

**Failure.** A refuting outcome (`Outcome.refutes`) bears on the context asked for, or on the
smaller one that was loaded. It bears

- on every proof, if nothing was loaded, or if the probe was interrupted: a machine that froze does
  not say how far it came;
- else on its own proof and the stronger ones: failing to answer a full window says nothing against
  loading it, failing to recall nothing against filling it.

It counts at once if it was out of memory, an interruption, or `confirmed`. Any other counts once it
has happened twice: at the same context, a smaller one having passed in between, by whatever proof,
and none there or above. Else it is a doubt, for a server that hiccups fails at every size; it
neither refutes nor discards.

`resized`, `refused`, `unavailable` and `unknown` prove nothing either way.

**Limit.** Each proof is replayed on its own. A pass at some context discards the failures and
doubts at it and below; a failure that counts discards the passes at it and above. So the largest
pass is always below the smallest failure; it is the limit. `refuted` is the smallest failure that
counts against `usable`.

**Recall.** A probe that filled a window found facts again at each of its depths. It counts for
recall at the largest depth where it found nearly as many as at the first (`recall_limit`), at its
effective context if that is the last depth; without depths, it does not. And it counts only as long
as its window stands for `usable`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from math import inf
from statistics import linear_regression

from lmstrix.engine.recall import recall_limit
from lmstrix.engine.strategies.space import GRAIN
from lmstrix.values import Evidence, Fingerprint, Limits, Outcome, Probe, Proof, Status


def derive_limits(
    declared: int | None, probes: Sequence[Probe], *, fingerprint: Fingerprint | None
) -> Limits:
    """Return the limits that `probes` prove, as this module defines them.

    Args:
        declared: Context that the model file claims, in tokens; None if it does not say.
        probes: Probes of one model, in any order; those that still run are passed over.
        fingerprint: What the limits are asked for. The evidence is exact if every probe was made
            with it, stale if one was not, none if there is no probe.
    """
    ended = _ended(probes)
    brackets: dict[Proof, _Bracket] = {}
    for proof in Proof:
        within = brackets[Proof.FILL] if proof is Proof.RECALL else None
        brackets[proof] = _Bracket(proof, declared, ended, within=within)
    usable = brackets[Proof.FILL].limit
    loads = brackets[Proof.LOAD]
    # The speed of a full window is the one to expect there; a short question tells less.
    best = next((brackets[p] for p in (Proof.FILL, Proof.ANSWER) if brackets[p].limit), loads)
    return Limits(
        declared=declared,
        loadable=loads.limit,
        answered=brackets[Proof.ANSWER].limit,
        usable=usable,
        recall=brackets[Proof.RECALL].limit,
        refuted=brackets[Proof.FILL].refuted,
        efficiency=usable / declared if usable and declared else None,
        evidence=_evidence(ended, fingerprint),
        fingerprint=fingerprint,
        tested_at=ended[-1].ended_at if ended else None,
        prefill_tps=best.reading(lambda probe: probe.prefill_tps),
        decode_tps=best.reading(lambda probe: probe.decode_tps),
        ttft_s=best.reading(lambda probe: probe.ttft_s),
        bytes_per_token=_bytes_per_token(ended),
    )


def status_of(probes: Iterable[Probe], limits: Limits) -> Status:
    """Return where testing stands, given the probes that `limits` were derived from.

    A probe without an outcome is taken to run: `testing`. Else a model is `tested` if a context is
    left in which it loads; if none is, `interrupted` if the last probe was, and `failed` if not.
    Probes that prove nothing either way leave it as it was, `untested` at first: a test that the
    user stopped did not fail.
    """
    probes = list(probes)
    if any(probe.outcome is None for probe in probes):
        return Status.TESTING
    if limits.loadable is not None:
        return Status.TESTED
    outcomes = [probe.outcome for probe in _ended(probes)]
    failures = [outcome for outcome in outcomes if outcome and outcome.refutes]
    if not failures:
        return Status.UNTESTED
    return Status.INTERRUPTED if failures[-1] is Outcome.INTERRUPTED else Status.FAILED


class _Bracket:
    """The largest pass and the smallest failure left standing for one proof.

    Walking backwards finds in one go what replaying finds: a pass stands if every later failure is
    above it, a failure if every later pass is below it. A failure that counts because it happened
    twice counts from the first time on: what passed in between was below it.
    """

    def __init__(
        self,
        proof: Proof,
        declared: int | None,
        ended: Sequence[Probe],
        *,
        within: "_Bracket | None" = None,
    ) -> None:
        passes: list[tuple[int, int]] = []
        failures: list[int] = []
        happens_again: dict[int, bool] = {}  # and whether a smaller size works before it does
        highest, lowest = 0.0, inf
        for place, probe in reversed(list(enumerate(ended))):
            for size in happens_again:
                happens_again[size] |= _works_below(probe, size)
            if (held := _held(probe, proof, declared)) is not None:
                highest = max(highest, held)
                happens_again = {size: seen for size, seen in happens_again.items() if size > held}
                if held < lowest and (within is None or place in within.places):
                    passes.append((held, place))
            elif (failed := _failed(probe, proof)) is not None:
                if not (probe.is_certain or happens_again.get(failed)):
                    happens_again.setdefault(failed, False)
                    continue
                lowest = min(lowest, failed)
                if failed > highest:
                    failures.append(failed)
        passes.sort(reverse=True)  # of one size, the latest is first
        self.places: frozenset[int] = frozenset(place for _, place in passes)
        self.passes = [ended[place] for _, place in passes]
        self.limit = passes[0][0] if passes else None
        self.refuted = min(failures, default=None)

    def reading(self, of: Callable[[Probe], float | None]) -> float | None:
        """Return a reading of the largest standing pass that has it."""
        readings = (of(probe) for probe in self.passes)
        return next((value for value in readings if value is not None), None)


def _ended(probes: Iterable[Probe]) -> list[Probe]:
    def end(probe: Probe) -> tuple[datetime, int]:
        # Clocks tick coarsely: probes that ended in the same instant keep the order of their ids.
        return probe.ended_at or probe.started_at, probe.id or 0

    done = [probe for probe in probes if probe.outcome is not None]
    # One that is told of twice has not happened twice.
    numbered = {probe.id: probe for probe in done if probe.id is not None}
    return sorted([*numbered.values(), *(probe for probe in done if probe.id is None)], key=end)


def _held(probe: Probe, proof: Proof, declared: int | None) -> int | None:
    """Return the context at which `probe` proves `proof`, or None if it does not."""
    if not probe.passed or probe.effective is None or probe.proof.strength < proof.strength:
        return None
    held = probe.effective
    if declared is not None and declared < held < declared + GRAIN:
        held = declared
    return _recalled(probe, held) if proof is Proof.RECALL else held


def _recalled(probe: Probe, held: int) -> int | None:
    """Return the depth to which `probe` found facts in its window of `held` tokens."""
    depth = recall_limit(probe.stairs)
    if depth is None:
        return None
    return held if depth == probe.stairs[-1].depth else min(depth, held)


def _failed(probe: Probe, proof: Proof) -> int | None:
    """Return the context at which `probe` refutes `proof`, or None if it does not."""
    if probe.outcome is None or not probe.outcome.refutes:
        return None
    if probe.effective is None or probe.outcome is Outcome.INTERRUPTED:
        return probe.requested
    if probe.proof.strength > proof.strength:
        return None
    return min(probe.requested, probe.effective)


def _works_below(probe: Probe, failed: int) -> bool:
    """Whether `probe` shows that a size smaller than `failed` works, by whatever proof."""
    return probe.passed and probe.effective is not None and probe.effective < failed


def _evidence(ended: Sequence[Probe], fingerprint: Fingerprint | None) -> Evidence:
    if not ended:
        return Evidence.NONE
    if fingerprint is None or any(probe.fingerprint != fingerprint for probe in ended):
        return Evidence.STALE
    return Evidence.EXACT


def _bytes_per_token(ended: Iterable[Probe]) -> float | None:
    """Return the slope of the least-squares line through the passing probes' memory readings.

    Only readings of one proof are on one line: reading a prompt takes memory of its own, and what
    was filled at one size beside what only answered at another would pass for the context's. The
    proof with most readings is taken, of those with two contexts; of equals the weakest, whose
    readings have least of a prompt in them.

    None if no proof has two contexts, or if the line falls: then noise outweighs what was measured.
    """
    points: dict[Proof, list[tuple[int, int]]] = {proof: [] for proof in Proof}
    for probe in ended:
        if probe.passed and probe.effective is not None and probe.memory_bytes is not None:
            points[probe.proof].append((probe.effective, probe.memory_bytes))
    lines = [of for of in points.values() if len({context for context, _ in of}) > 1]
    if not lines:
        return None
    contexts, memory = zip(*max(lines, key=len), strict=True)
    slope = linear_regression(contexts, memory).slope
    return slope if slope >= 0 else None
