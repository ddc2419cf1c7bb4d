"""How much memory a context takes, as a straight line through measured loads. Bytes and tokens.

A loaded model takes a fixed part (weights, buffers) and so much for each token of context. Before
any load, a `Prior` says roughly how much; each load that passed is a `Reading` of the truth. The
line is the least-squares fit of all of them, each weighted by how sure it is, and it knows its own
error: the chance that a context fits a budget follows from it, and so does a limit with a margin.

Two rules keep it honest where memory is not straight:

- **Bends.** A sliding-window model takes more per token below its window than above, and a buffer
  may grow later. What counts is the slope at the end, so readings are used from the largest
  context downwards, as far as one line meets them within three times their error; smaller ones are
  dropped. The last two always define a line.
- **Priors.** An estimate may leave out what it does not know. Once two loads measure the slope, a
  prior more than three errors away from it is dropped too.

Readings are taken to be right to half a per cent of the budget (`reading_noise`): allocators round,
and other allocations come and go. Nothing is claimed to be known better than that, however well a
few readings happen to agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple, Self

from lmstrix.ports import MachineMemory, Prior

GIB = 2**30

_NOISE: Final = 0.005
_OUTLIER: Final = 3.0  # errors
_FLATTEST: Final = 1.0  # byte per token: no prior, not even one of 0, is surer than that
_NORMAL: Final = NormalDist()


def reserve_bytes(total: int) -> int:
    """Return what is left to the rest of the machine: 2 GiB, or 5 % of its memory if more."""
    return max(2 * GIB, total // 20)


def spare_bytes(memory: MachineMemory) -> int:
    """Return what a model may take of `memory` now: what is free, less a reserve of each part."""
    cards = sum(max(0, card.free - card.total // 20) for card in memory.accelerators)
    return max(0, memory.available - reserve_bytes(memory.total)) + cards


def reading_noise(budget_bytes: int) -> float:
    """Return the standard error of one reading, in bytes."""
    return _NOISE * budget_bytes


class Reading(NamedTuple):
    """The memory that a load was seen to take, in bytes, at its context, in tokens."""

    context: int
    taken: int


class Limit(NamedTuple):
    """The context that a budget is predicted to hold, in tokens; infinite if memory is flat."""

    expected: float
    cautious: float


@dataclass(frozen=True, kw_only=True)
class MemoryLine:
    """Memory by context: `level` bytes at `reference` tokens, `slope` more for each token.

    `measured` says that two loads of different contexts define it; else the slope is the prior's.
    """

    reference: int
    level: float
    slope: float
    level_variance: float
    covariance: float
    slope_variance: float
    measured: bool

    @classmethod
    def fit(
        cls, readings: Sequence[Reading], *, noise_bytes: float, prior: Prior | None = None
    ) -> Self | None:
        """Return the line through `readings`, or None if they and the prior define none.

        Args:
            readings: Loads that passed, in any order.
            noise_bytes: Standard error of a reading.
            prior: What was thought before; needed as long as fewer than two contexts were read.
        """
        ordered = sorted(readings)
        if len({reading.context for reading in ordered}) < 2:
            return cls._guess(ordered, noise_bytes, prior)
        line = cls._solve(ordered, noise_bytes, None)
        while len({reading.context for reading in ordered}) > 2 and any(
            abs(reading.taken - line.predict(reading.context)) > _OUTLIER * noise_bytes
            for reading in ordered
        ):
            ordered = ordered[1:]
            line = cls._solve(ordered, noise_bytes, None)
        if prior is None or line.contradicts(prior):
            return line
        return cls._solve(ordered, noise_bytes, prior)

    @classmethod
    def _guess(
        cls, readings: Sequence[Reading], noise_bytes: float, prior: Prior | None
    ) -> Self | None:
        """Return the prior's line, through the readings of one context if there are any."""
        if prior is None:
            return None
        if readings:
            return cls._solve(readings, noise_bytes, prior)
        if prior.fixed_bytes is None:
            return None
        error = max(prior.relative_error * prior.fixed_bytes, noise_bytes)
        return cls._solve([Reading(0, prior.fixed_bytes)], error, prior)

    @classmethod
    def _solve(cls, readings: Sequence[Reading], noise_bytes: float, prior: Prior | None) -> Self:
        """Return the weighted least-squares line, by its normal equations.

        Contexts are counted from the largest one, which keeps the equations well-conditioned.
        """
        reference, weight = readings[-1].context, noise_bytes**-2
        offsets = [reading.context - reference for reading in readings]
        products = (x * reading.taken for x, reading in zip(offsets, readings, strict=True))
        known, crossed = weight * len(readings), weight * sum(offsets)
        squared, sloped = weight * sum(x**2 for x in offsets), weight * sum(products)
        level = weight * sum(reading.taken for reading in readings)
        if prior is not None:
            certainty = _slope_error(prior) ** -2
            squared += certainty
            sloped += certainty * prior.bytes_per_token
        determinant = known * squared - crossed**2
        return cls(
            reference=reference,
            level=(squared * level - crossed * sloped) / determinant,
            slope=(known * sloped - crossed * level) / determinant,
            level_variance=squared / determinant,
            covariance=-crossed / determinant,
            slope_variance=known / determinant,
            measured=any(offsets),
        )

    def predict(self, context: float) -> float:
        """Return the bytes that a load of `context` tokens is expected to take."""
        return self.level + self.slope * (context - self.reference)

    def error(self, context: float) -> float:
        """Return the standard error of that prediction, in bytes."""
        offset = context - self.reference
        variance = self.slope_variance * offset**2 + 2 * self.covariance * offset
        return sqrt(max(0.0, variance + self.level_variance))

    def chance(self, context: float, budget_bytes: float) -> float:
        """Return the probability that a load of `context` tokens takes no more than the budget."""
        error = self.error(context)
        spare = budget_bytes - self.predict(context)
        return _NORMAL.cdf(spare / error) if error else float(spare >= 0)

    def limit(self, budget_bytes: float, z: float) -> Limit:
        """Return the context that the budget holds: the expected one, and one `z` errors below.

        The cautious one is the largest at which the prediction and `z` of its errors together are
        within the budget. It can be negative: then not even the weights are sure to fit.
        """
        spare = budget_bytes - self.level
        expected = self.reference + spare / self.slope if self.slope > 0 else inf
        return Limit(expected, min(expected, self.reference + self._safe_offset(spare, z)))

    def _safe_offset(self, spare: float, z: float) -> float:
        """Return the largest x with `spare - slope * x >= z * error`, in tokens from the reference.

        Squared, that is `a * x**2 - 2 * b * x + c >= 0`. If memory surely grows (a > 0), x is its
        smaller root; if it surely falls, there is none; else it is the only root above 0, if the
        reference itself is sure to fit (c >= 0), and nothing is if that is not.
        """
        a = self.slope**2 - z**2 * self.slope_variance
        b = spare * self.slope + z**2 * self.covariance
        c = spare**2 - z**2 * self.level_variance
        root = sqrt(max(0.0, b**2 - a * c))
        if a > 0 and self.slope < 0:
            return inf
        if a > 0 and b <= 0:
            return (b - root) / a
        if a <= 0 and (c < 0 or spare < 0):
            return -inf
        return c / (b + root) if b + root > 0 else inf

    def contradicts(self, prior: Prior) -> bool:
        """Whether the slope is farther from the prior's than their errors explain."""
        error = sqrt(self.slope_variance + _slope_error(prior) ** 2)
        return abs(self.slope - prior.bytes_per_token) > _OUTLIER * error


def _slope_error(prior: Prior) -> float:
    return max(prior.relative_error * prior.bytes_per_token, _FLATTEST)
