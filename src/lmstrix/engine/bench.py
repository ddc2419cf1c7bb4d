"""What a test acts upon, in one hand."""

from dataclasses import dataclass

from lmstrix.engine.events import OnEvent, ignore
from lmstrix.ports import Backend, Clock, Registry


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A runtime to probe on, a registry to record in, a clock, and whom to tell what goes on."""

    backend: Backend
    registry: Registry
    clock: Clock
    on_event: OnEvent = ignore
