"""What a staircase says of recall and speed at depth. Pure."""

from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from lmstrix.values import Outcome, Probe, Proof, RecallScore, Stair

MEASURABLE: Final = 4
"""Facts of eight that must be found at the first stair, or recall cannot be measured."""
KEPT: Final = 0.85
"""The part of the first stair's score that a deeper one must keep."""


def keeps_up(score: RecallScore, baseline: RecallScore) -> bool:
    """Return whether as good as everything is found that is found in a short text."""
    return score.found >= KEPT * baseline.found


def recall_limit(stairs: Sequence[Stair]) -> int | None:
    """Return the largest depth, in tokens, whose score is at least 85 % of the first stair's.

    None if recall was not asked for, or could not be measured: then nothing is known of it.
    """
    scores = _scores(stairs)
    if not scores or scores[0][1].found < MEASURABLE:
        return None
    return max(depth for depth, score in scores if keeps_up(score, scores[0][1]))


def recall_notes(stairs: Sequence[Stair]) -> str:
    """Return where recall fails first, and every failure below a depth that passed; "" if none."""
    scores = _scores(stairs)
    limit = recall_limit(stairs)
    if limit is None:
        return ""
    base_depth, baseline = scores[0]
    failing = [(depth, score) for depth, score in scores if not keeps_up(score, baseline)]
    if not failing:
        return ""
    depth, score = failing[0]
    first = f"recall {score.found} of {score.asked} at {depth:,} tokens"
    before = f"{baseline.found} of {baseline.asked} at {base_depth:,}"
    odd = [
        f"{depth:,} tokens failed before {limit:,} passed" for depth, _ in failing if depth < limit
    ]
    return "; ".join([f"{first}, {before}", *odd])


def usable_at_speed(stairs: Sequence[Stair], min_tps: float) -> int | None:
    """Return the deepest stair, in tokens, down to which all generate at `min_tps` or faster.

    A stair whose speed is not known ends it, as nothing is claimed that was not seen. None if the
    first stair is too slow already.
    """
    fast = takewhile(lambda stair: (stair.decode_tps or 0.0) >= min_tps, stairs)
    return max((stair.depth for stair in fast), default=None)


def immeasurable(probe: Probe) -> str | None:
    """Return why nothing can be said of recall, if `probe` has shown that."""
    if (probe.proof, probe.outcome) != (Proof.RECALL, Outcome.UNKNOWN):
        return None
    return probe.detail if probe.stairs and recall_limit(probe.stairs) is None else None


def _scores(stairs: Sequence[Stair]) -> Sequence[tuple[int, RecallScore]]:
    return [(stair.depth, stair.recall) for stair in stairs if stair.recall is not None]
