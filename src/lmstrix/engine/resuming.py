"""Which searches were begun and not ended: a note in the registry, written before the first probe.

The note says what was searched for, and after which probe it began. Nobody else probes on the same
runtime meanwhile, so all later probes with the same fingerprint belong to it, but those of a single
size that was asked for in between; told to the strategy again, they lead to where it was. A note of
another plan is no help, and is overwritten.
"""

from collections.abc import Sequence

from pydantic import Field, ValidationError

from lmstrix.engine.plan import TestPlan
from lmstrix.ports import Registry
from lmstrix.values import Outcome, Probe, Proof, Value

_UNTOLD = frozenset({None, Outcome.UNKNOWN, Outcome.UNAVAILABLE, Outcome.REFUSED, Outcome.RESIZED})
"""They decide nothing, and would only end the search a second time."""


class SearchNote(Value):
    """What the registry remembers of one search."""

    proof: Proof = Field(description="What every passing probe was to prove in the end.")
    plan: str = Field(description="What else was asked for.")
    since: int = Field(description="Number of the last probe before it.")
    besides: tuple[int, ...] = Field(default=(), description="Later probes that are not its own.")
    cap_bytes: int | None = Field(default=None, description="Most memory that it might take.")
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

    def is_done(self, *, known: bool) -> bool:
        """Whether the same search has come to its end, or one for a stronger proof.

        Args:
            known: Whether there is a limit for the proof: what failed a stronger one may pass this.
        """
        note, plan = self._read(), self._plan
        if note is None or not note.done or note.plan != _text(plan):
            return False
        return note.proof is plan.proof or (known and note.proof.strength > plan.proof.strength)

    def begin(self, earlier: Sequence[Probe], cap_bytes: int | None) -> list[Probe]:
        """Resume the search if it was broken off, else begin it.

        Args:
            earlier: All probes with its fingerprint so far, oldest first.
            cap_bytes: Most memory that it may take now.

        Returns:
            Its probes so far that decide something, and count against nothing if forced. What was
            out of memory is left out if there is more of it now.
        """
        note = self._read()
        if self._plan.reset or note is None or note.done or not self._is_of(note):
            last = max((probe.id or 0 for probe in earlier), default=0)
            self._write(self._note(last, cap_bytes))
            return []
        passed_over = set(_UNTOLD)
        if self._plan.force:
            passed_over.add(Outcome.INTERRUPTED)
        if _has_grown(note.cap_bytes, cap_bytes):
            passed_over.add(Outcome.OUT_OF_MEMORY)
        return [
            probe
            for probe in earlier
            if (probe.id or 0) > note.since
            and probe.id not in note.besides
            and probe.outcome not in passed_over
        ]

    def set_aside(self, probe: Probe) -> None:
        """Note that `probe` is not one of a search that was broken off, if there is one."""
        note = self._read()
        if note is not None and not note.done and probe.id is not None:
            besides = (*note.besides, probe.id)
            self._write(note.model_copy(update={"besides": besides}))

    def end(self) -> None:
        """Note that the search has come to its end."""
        self._write(self._note(0, None).model_copy(update={"done": True}))

    def _is_of(self, note: SearchNote) -> bool:
        return (note.proof, note.plan) == (self._plan.proof, _text(self._plan))

    def _read(self) -> SearchNote | None:
        text = self._registry.get_note(self._name)
        try:
            return SearchNote.model_validate_json(text) if text else None
        except ValidationError:
            return None  # written by another version: the search begins again

    def _note(self, since: int, cap_bytes: int | None) -> SearchNote:
        plan = self._plan
        return SearchNote(proof=plan.proof, plan=_text(plan), since=since, cap_bytes=cap_bytes)

    def _write(self, note: SearchNote) -> None:
        self._registry.put_note(self._name, note.model_dump_json())


def _has_grown(before: int | None, now: int | None) -> bool:
    """Whether there is clearly more memory than there was: a twentieth more."""
    return before is not None and (now is None or now > before * 1.05)


def _text(plan: TestPlan) -> str:
    """Return what tells one search from another, beside its subject."""
    return repr(
        (
            plan.strategy,
            plan.threshold,
            plan.granularity,
            plan.document,
            plan.question,
        )
    )
