"""A registry that lives in memory."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from lmstrix.engine.limits import derive_limits, status_of
from lmstrix.errors import BusyError, RegistryError
from lmstrix.ports import Clock
from lmstrix.testing.clock import FakeClock
from lmstrix.values import Fingerprint, Limits, Model, Outcome, Probe, Status


class MemoryRegistry:
    """What was measured, for as long as this object lives.

    Attributes:
        owner: The process that opens probes from now on. Several can share one registry.
        dead: Owners whose process is gone: `sweep` closes what they left open.
        held: Backends that another process is measuring on.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.owner = "this process"
        self.dead: set[str] = set()
        self.held: set[str] = set()
        self._clock = clock or FakeClock()
        self._models: dict[str, Sequence[Model]] = {}
        self._rows: list[tuple[str, str, Probe]] = []
        self._notes: dict[str, str] = {}

    def put_models(self, backend: str, models: Sequence[Model]) -> None:
        """Make `models` the ones known for `backend`."""
        self._models[backend] = list(models)

    def models(self) -> Sequence[Model]:
        """Return the known models by key, with their newest limits and status."""
        known = (model for models in self._models.values() for model in models)
        return sorted(map(self._with_limits, known), key=lambda model: model.key)

    def open_probe(self, backend: str, probe: Probe) -> Probe:
        """Add the row of a probe that is about to start; return it with its id."""
        opened = probe.model_copy(update={"id": len(self._rows) + 1})
        self._rows.append((self.owner, backend, opened))
        return opened

    def close_probe(self, probe: Probe) -> None:
        """Write the end of an open probe.

        Raises:
            RegistryError: It is not open: rows are never changed once they are closed.
        """
        for number, (owner, backend, row) in enumerate(self._rows):
            if row.id == probe.id and row.outcome is None and probe.outcome is not None:
                self._rows[number] = (owner, backend, probe)
                return
        raise RegistryError(f"probe {probe.id} is not open")

    def probes(
        self, *, backend: str | None = None, model: str | None = None, digest: str | None = None
    ) -> Sequence[Probe]:
        """Return probes in the order they were opened, of one model or fingerprint if given."""
        return [
            probe
            for _, of, probe in self._rows
            if backend in {None, of}
            and model in {None, probe.model}
            and (digest is None or (probe.fingerprint and probe.fingerprint.digest == digest))
        ]

    def limits_of(self, backend: str, model: str) -> Sequence[Limits]:
        """Return the limits of `model`, one for each fingerprint, the newest last."""
        known = [found for found in self._models.get(backend, ()) if found.key == model]
        ended = [p for p in self.probes(backend=backend, model=model) if p.outcome is not None]
        newest = list(dict.fromkeys(probe.fingerprint for probe in reversed(ended)))
        return [self._limits(found, ended, of) for found in known for of in reversed(newest)]

    def sweep(self) -> Sequence[Probe]:
        """Close the open probes of dead owners as `interrupted`; return those."""
        swept = []
        for number, (owner, backend, probe) in enumerate(self._rows):
            if probe.outcome is None and owner in self.dead:
                end = {"outcome": Outcome.INTERRUPTED, "ended_at": self._clock.now()}
                closed = probe.model_copy(update=end)
                self._rows[number] = (owner, backend, closed)
                swept.append(closed)
        return swept

    def get_note(self, name: str) -> str | None:
        """Return a remembered text."""
        return self._notes.get(name)

    def put_note(self, name: str, text: str) -> None:
        """Remember a text."""
        self._notes[name] = text

    @contextmanager
    def measuring(self, backend: str) -> Generator[None]:
        """Hold the right to probe on `backend`.

        Raises:
            BusyError: It is held already.
        """
        if backend in self.held:
            raise BusyError(f"another process is measuring on `{backend}`")
        self.held.add(backend)
        try:
            yield
        finally:
            self.held.discard(backend)

    def close(self) -> None:
        """Do nothing: there is no file to release."""

    def _with_limits(self, model: Model) -> Model:
        probes = self.probes(backend=model.backend, model=model.key)
        ended = [probe for probe in probes if probe.outcome is not None]
        newest = list(dict.fromkeys(probe.fingerprint for probe in reversed(ended)))
        limits = [self._limits(model, ended, fingerprint) for fingerprint in newest]
        working = [found for found in limits if found.loadable is not None]
        shown, status = next(iter([*working, *limits]), None), Status.UNTESTED
        if len(ended) < len(probes):
            status = Status.TESTING
        elif shown is not None:
            alike = [probe for probe in ended if probe.fingerprint == shown.fingerprint]
            status = status_of(alike, shown)
        return model.model_copy(update={"limits": shown, "status": status})

    def _limits(
        self, model: Model, ended: Sequence[Probe], fingerprint: Fingerprint | None
    ) -> Limits:
        alike = [probe for probe in ended if probe.fingerprint == fingerprint]
        return derive_limits(model.declared_context, alike, fingerprint=fingerprint)
