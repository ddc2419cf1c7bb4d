"""A fake runtime that stands still while it is told to."""

import threading
from typing import Final

from lmstrix.ports import LoadRequest, OnTick, Tick
from lmstrix.testing import FakeBackend, FakeLoaded, FakeModel
from lmstrix.values import Model

PATIENCE_S: Final = 60.0
"""Longest any test waits for something that must happen."""


class GatedBackend(FakeBackend):
    """A fake runtime whose loads go on until the gate is open, giving signs of life meanwhile.

    Attributes:
        gate: Open from the start; clear it to make the next load last.
        loading: Set while a load lasts.
    """

    def __init__(self, *models: FakeModel) -> None:
        super().__init__(*models)
        self.gate = threading.Event()
        self.gate.set()
        self.loading = threading.Event()

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load a copy as soon as the gate is open."""
        self.loading.set()
        while not self.gate.wait(0.01):
            if on_tick is not None:
                on_tick(Tick(phase="load"))
        self.loading.clear()
        return super().load(model, request, on_tick=on_tick)
