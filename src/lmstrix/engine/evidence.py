"""How well stored limits fit a load made now. Pure.

Limits hold for a fingerprint. Those of exactly the fingerprint that a load would have now are exact
evidence. Those of the same model file under another runtime, configuration, machine or budget are
stale: a hint worth one probe, not a promise. Those of another file are no evidence at all, though
the file may go by the same key.

Throughout, `stored` are the limits of one model, one for each fingerprint, the newest last. Limits
in which no context is left that works tell less than others in which one is: a test that was asked
for the impossible does not hide what is known.
"""

from collections.abc import Callable, Iterable, Sequence

from lmstrix.engine.strategy import SearchSpace
from lmstrix.values import Evidence, Fingerprint, Limits, Model, Status


def fitting(stored: Sequence[Limits], now: Fingerprint) -> Limits | None:
    """Return the stored limits that fit a load made `now` best, with what evidence they are.

    None: nothing is known of this model file, or no context of it that works.
    """
    exact, alike = _exact(stored, now), _of_same_file(stored, now)
    if exact is not None and _holds(exact):
        return _as(Evidence.EXACT, exact)
    if alike:
        chosen = _last(alike, lambda limits: _is_configured(limits, now)) or alike[-1]
        return _as(Evidence.STALE, chosen)
    return None if exact is None else _as(Evidence.EXACT, exact)


def to_verify(stored: Sequence[Limits], now: Fingerprint) -> Limits | None:
    """Return the stale limits that one probe may make exact again, before any search.

    Those are the newest of the same file, configuration and budget, which a new runtime or machine
    has outdated. None: there are none, or what was measured `now` says something already.
    """
    exact = _exact(stored, now)
    if exact is not None and (_holds(exact) or exact.refuted is not None):
        return None
    found = _last(_of_same_file(stored, now), lambda limits: _is_configured(limits, now))
    return None if found is None else _as(Evidence.STALE, found)


def may_verify(known: int, old: Limits, now: Fingerprint, space: SearchSpace, model: Model) -> bool:
    """Whether a test may begin with a probe at `known` tokens, the limit that `old` tells.

    It may on the same machine, within the threshold, and within the memory there is now, as far as
    the old measurements tell what it takes.
    """
    if old.fingerprint is None or old.fingerprint.machine != now.machine:
        return False
    taken = (old.bytes_per_token or 0.0) * known + (model.size_bytes or 0)
    fits = space.budget_bytes is None or taken <= space.budget_bytes
    return fits and known <= min(space.ceiling, space.threshold)


def told(model: Model, stored: Sequence[Limits], now: Fingerprint) -> Model:
    """Return `model` with the limits that fit a load made `now`, and the status they give it."""
    limits = fitting(stored, now)
    return model.model_copy(update={"limits": limits, "status": _status(model, limits)})


def _status(model: Model, limits: Limits | None) -> Status:
    if model.status is Status.TESTING:
        return Status.TESTING
    if limits is None:
        return Status.UNTESTED
    if _holds(limits):
        return Status.TESTED if limits.evidence is Evidence.EXACT else Status.STALE
    # The probes know why nothing works; that was judged if these are the limits that came along.
    same = model.limits is not None and model.limits.fingerprint == limits.fingerprint
    return model.status if same else Status.FAILED


def _exact(stored: Sequence[Limits], now: Fingerprint) -> Limits | None:
    return _last(stored, lambda limits: limits.fingerprint == now)


def _of_same_file(stored: Iterable[Limits], now: Fingerprint) -> Sequence[Limits]:
    """Return the limits of the same model file in which a context works."""
    return [
        limits
        for limits in stored
        if limits.fingerprint is not None
        and limits.fingerprint.model == now.model
        and _holds(limits)
    ]


def _is_configured(limits: Limits, now: Fingerprint) -> bool:
    """Whether `limits` were measured with the configuration and the budget of `now`."""
    then = limits.fingerprint
    if then is None:
        return False
    return (then.config, then.budget_bytes, then.question) == (
        now.config,
        now.budget_bytes,
        now.question,
    )


def _holds(limits: Limits) -> bool:
    return limits.best is not None


def _as(evidence: Evidence, limits: Limits) -> Limits:
    return limits.model_copy(update={"evidence": evidence})


def _last(stored: Sequence[Limits], wanted: Callable[[Limits], bool]) -> Limits | None:
    return next((limits for limits in reversed(stored) if wanted(limits)), None)
