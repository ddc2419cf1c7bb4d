"""A fake runtime, a registry and a clock in one hand, for the tests of the engine."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lmstrix.engine.bench import Bench as Hand
from lmstrix.engine.discovery import TestPlan, run_test
from lmstrix.engine.events import OnEvent, ignore
from lmstrix.engine.inference import InferRequest, run_infer
from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry
from lmstrix.values import Completion, Event, Model, Outcome, Probe, Proof, TestReport


class Stop(Exception):  # noqa: N818 - it is no error, but a caller who has had enough
    """What a caller raises from `on_event`."""


@dataclass
class Bench:
    """One fake model on a fake runtime, and what was measured of it."""

    fake: FakeModel = field(default_factory=FakeModel)
    budget_bytes: int | None = None
    backend: FakeBackend = field(init=False)
    registry: MemoryRegistry = field(init=False)

    def __post_init__(self) -> None:
        self.backend = FakeBackend(self.fake, budget_bytes=self.budget_bytes)
        self.registry = MemoryRegistry(self.backend.clock)
        self.registry.put_models(self.backend.name, self.backend.list_models())

    @property
    def model(self) -> Model:
        """The model, with what is known of it."""
        [model] = self.registry.models()
        return model

    def test(self, *, on_event: OnEvent = ignore, **plan: Any) -> TestReport:
        """Test the model as a plan of these fields says."""
        return run_test(self.model, TestPlan(**{"strategy": "bisect"} | plan), self.hand(on_event))

    def hand(self, on_event: OnEvent = ignore) -> Hand:
        """Return what a test acts upon."""
        return Hand(
            backend=self.backend,
            registry=self.registry,
            clock=self.backend.clock,
            on_event=on_event,
        )

    def infer(self, prompt: str, *, on_event: OnEvent = ignore, **request: Any) -> Completion:
        """Answer `prompt` as a request of these fields says."""
        return run_infer(
            self.model,
            InferRequest(prompt=prompt, **request),
            backend=self.backend,
            clock=self.backend.clock,
            on_event=on_event,
        )

    def die_at(self, context: int, proof: Proof = Proof.LOAD) -> None:
        """Leave behind what a process leaves that died while probing `context`."""
        fingerprint = self.backend.fingerprint(self.model, TestPlan().config)
        probe = Probe(
            model=self.fake.key,
            requested=context,
            proof=proof,
            fingerprint=fingerprint,
            started_at=self.backend.clock.now(),
        )
        self.registry.owner, here = "a process that died", self.registry.owner
        self.registry.open_probe(self.backend.name, probe)
        self.registry.dead.add(self.registry.owner)
        self.registry.owner = here
        [swept] = self.registry.sweep()
        assert swept.outcome is Outcome.INTERRUPTED


def stop_after(count: int, error: type[BaseException] = Stop) -> Callable[[Event], None]:
    """Return an `on_event` that bears `count` events, and raises at the next."""
    left = [count]

    def listen(_: Event) -> None:
        if left[0] == 0:
            raise error
        left[0] -= 1

    return listen
