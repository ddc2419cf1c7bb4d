"""A fake runtime that stands still while it is told to."""

import threading
from collections.abc import Sequence
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
        free: How many loads go through the gate before it is looked at.
        loading: Set while a load lasts.
        listing_gate: The same for the listing of models, which gives no signs of life.
        listed: How often models were listed.
    """

    def __init__(self, *models: FakeModel) -> None:
        super().__init__(*models)
        self.gate = threading.Event()
        self.gate.set()
        self.free = 0
        self.loading = threading.Event()
        self.listing_gate = threading.Event()
        self.listing_gate.set()
        self.listed = 0

    def list_models(self) -> Sequence[Model]:
        """Return the fake models as soon as the listing's gate is open."""
        self.listing_gate.wait(PATIENCE_S)
        self.listed += 1
        return super().list_models()

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> FakeLoaded:
        """Load a copy as soon as the gate is open."""
        if self.free > 0:
            self.free -= 1
            return super().load(model, request, on_tick=on_tick)
        self.loading.set()
        while not self.gate.wait(0.01):
            if on_tick is not None:
                on_tick(Tick(phase="load"))
        self.loading.clear()
        return super().load(model, request, on_tick=on_tick)
