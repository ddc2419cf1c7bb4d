"""Which searches were begun and not ended: a note in the registry, written before the first probe.

The note says what was searched for, and after which probe it began. Nobody else probes on the same
runtime meanwhile, so all later probes with the same fingerprint belong to it; told to the strategy
again, they lead to where it was. A note of another plan is no help, and is overwritten.
"""

from collections.abc import Sequence

from pydantic import Field, ValidationError

from lmstrix.engine.plan import TestPlan
from lmstrix.ports import Registry
from lmstrix.values import Outcome, Probe, Proof, Value

_UNTOLD = frozenset({None, Outcome.UNKNOWN, Outcome.UNAVAILABLE})
"""They decide nothing, and would only end the search a second time."""


class SearchNote(Value):
    """What the registry remembers of one search."""

    proof: Proof = Field(description="What every passing probe was to prove in the end.")
    plan: str = Field(description="What else was asked for.")
    since: int = Field(description="Number of the last probe before it.")
    done: bool = Field(default=False, description="Whether it came to its end.")


class SearchRecord:
    """The note of the search for one model's limit with one fingerprint.

    Args:
        registry: Where it is written.
        subject: Runtime, model, and digest of the fingerprint.
        plan: What is searched for.
    """

    def __init__(self, registry: Registry, subject: Sequence[str], plan: TestPlan) -> None:
        self._registry = registry
        self._name = " ".join(("search", *subject))
        self._plan = plan

    def is_done(self) -> bool:
        """Whether a search for as strong a proof has come to its end."""
        note = self._read()
        return note is not None and note.done and note.proof.strength >= self._plan.proof.strength

    def begin(self, earlier: Sequence[Probe]) -> list[Probe]:
        """Resume the search if it was broken off, else begin it.

        Args:
            earlier: All probes with its fingerprint so far, oldest first.

        Returns:
            Its probes so far that decide something, and count against nothing if forced.
        """
        note = self._read()
        if self._plan.reset or note is None or note.done or note.plan != _text(self._plan):
            last = max((probe.id or 0 for probe in earlier), default=0)
            self._write(last, done=False)
            return []
        return [
            probe
            for probe in earlier
            if (probe.id or 0) > note.since
            and probe.outcome not in _UNTOLD
            and not (self._plan.force and probe.outcome is Outcome.INTERRUPTED)
        ]

    def end(self) -> None:
        """Note that the search has come to its end."""
        note = self._read()
        self._write(note.since if note else 0, done=True)

    def _read(self) -> SearchNote | None:
        text = self._registry.get_note(self._name)
        try:
            return SearchNote.model_validate_json(text) if text else None
        except ValidationError:
            return None  # written by another version: the search begins again

    def _write(self, since: int, *, done: bool) -> None:
        note = SearchNote(proof=self._plan.proof, plan=_text(self._plan), since=since, done=done)
        self._registry.put_note(self._name, note.model_dump_json())


def _text(plan: TestPlan) -> str:
    """Return what tells one search from another, beside its subject."""
    return repr(
        (
            plan.proof.value,
            plan.strategy,
            plan.threshold,
            plan.granularity,
            plan.document,
            plan.question,
            plan.min_tps,
        )
    )
