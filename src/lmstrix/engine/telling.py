"""How a test of one model tells what it does: forecasts, probes of how many, notes, the end."""

from lmstrix.engine.events import OnEvent
from lmstrix.engine.forecast import describe
from lmstrix.values import Event, Forecast, TestReport


class Telling:
    """Tells a caller of one test.

    Attributes:
        ended: Probes that have ended so far; the test counts them.

    Args:
        model: Key of the model.
        on_event: The caller.
    """

    def __init__(self, model: str, on_event: OnEvent) -> None:
        self.ended = 0
        self._model = model
        self._on_event = on_event
        self._total = 0

    def relay(self, event: Event) -> None:
        """Pass `event` on; one about a probe, with how many there were of how many at most."""
        if event.kind in {"probe-started", "probe-ended"}:
            event = self._counted(event, self.ended + (event.kind == "probe-ended"))
        self._on_event(event)

    def announce(self, forecast: Forecast) -> None:
        """Tell what is still to come."""
        self._total = self.ended + forecast.probes
        event = Event(
            kind="planned", model=self._model, message=describe(forecast), forecast=forecast
        )
        self._on_event(self._counted(event, self.ended))

    def note(self, message: str) -> None:
        """Tell what the user should know."""
        self._on_event(Event(kind="noted", model=self._model, message=message))

    def finish(self, report: TestReport) -> None:
        """Tell that this was all."""
        event = Event(
            kind="finished", model=self._model, message=report.stopped_because, report=report
        )
        self._on_event(event.model_copy(update={"done": self.ended, "total": self.ended}))

    def _counted(self, event: Event, done: int) -> Event:
        return event.model_copy(update={"done": done, "total": max(done, self._total)})
