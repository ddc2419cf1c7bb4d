"""What a person sees of a test while it runs, on stderr.

A terminal shows a bar, the step under way and what is known so far; a pipe gets one line for each
thing that matters. Rich redraws in a thread of its own, which only reads what is set here.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from lmstrix.cli.session import Session
from lmstrix.cli.views import one_line, seconds, tokens
from lmstrix.values import Event, Forecast, Probe, Status, TestReport

AGAIN: Final = "run the same command again to go on"
LONG_S: Final = 300
"""A test that takes longer, in seconds, says so beforehand."""
_BAR: Final = 20


class TestProgress:
    """Follows one test, or many, as its `on_event`, from entering the context to leaving it.

    Args:
        session: Is told what remains if the run is interrupted now.
        models: How many models are tested, if it may be several: then each line names its model.

    Attributes:
        reports: The newest report of each model that one was told of.
    """

    __test__ = False  # pytest: not a test class

    def __init__(self, session: Session, *, models: int = 0) -> None:
        self.reports: dict[str, TestReport] = {}
        self._session = session
        self._models = models
        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._probing = "looking at the machine"
        self._step = ""
        self._done: float | None = None
        self._total: float | None = None
        self._ended: dict[str, list[Probe]] = {}
        self._current: Sequence[Probe] = ()
        self._said: dict[tuple[str, str | None], str] = {}
        self._warned = False
        # Comes last, for it asks for a first picture at once. Stdout is left to the data.
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            transient=True,
            redirect_stdout=False,
        )
        self._is_drawn = self._console.is_terminal and not self._console.is_dumb_terminal

    @property
    def probes(self) -> Sequence[Probe]:
        """The probes that have ended so far, of every model."""
        return [probe for ended in self._ended.values() for probe in ended]

    @property
    def elapsed_s(self) -> float:
        """Seconds since this began to follow."""
        return time.monotonic() - self._began

    def __enter__(self) -> Self:
        if self._is_drawn:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, event: Event) -> None:
        """Take note of `event`, and show what matters of it."""
        match event.kind:
            case "planned":
                self._plan(event)
            case "probe-started":
                self._start(event)
            case "probe-ended" if event.probe is not None:
                self._end(event.probe, event.message)
            case "loading" | "loaded" | "prefill" | "decode":
                self._step, self._done, self._total = event.message, event.done, event.total
            case "noted":
                named = event.model is None or event.model in event.message
                self.say(event.message if named else self._of(event.model) + event.message)
            case "finished" if event.report is not None:
                self._finish(event, event.report)
            case "finished" if self._models:
                self.say(event.message)
            case _:
                pass  # told for other commands

    def say(self, line: str) -> None:
        """Print `line`, above what is drawn."""
        self._console.print(Text(line), soft_wrap=True)

    def warn_if_long(self, forecast: Forecast) -> None:
        """Say how long it will take and how to stop it, if it takes long; but only once."""
        if self._warned or forecast.seconds is None or forecast.seconds <= LONG_S:
            return
        self._warned = True
        self.say(
            f"this may take {seconds(forecast.seconds)}: Ctrl-C stops it, nothing measured is "
            "lost, and the same command goes on where it was"
        )

    def _plan(self, event: Event) -> None:
        self._ended.setdefault(event.model or "", [])
        rest = " of the rest" if event.done else ""
        self._say_new(event, f"{self._of(event.model)}forecast{rest}: {event.message}")
        if event.forecast is not None:
            self.warn_if_long(event.forecast)

    def _start(self, event: Event) -> None:
        ended = self._current = self._ended.setdefault(event.model or "", [])
        number = len(ended) + 1 if event.done is None else round(event.done) + 1
        most = f" of at most {event.total:.0f}" if event.total else ""
        self._probing = f"{self._named(event.model)}: probe {number}{most}: {event.message}"
        self._step, self._done, self._total = "", None, None
        self._session.kept = (
            f"the probes of `{event.model}` that ended are recorded ({number - 1}); "
            f"the one at {tokens(event.context)} tokens proves nothing; {AGAIN}"
        )
        if self._is_drawn:
            self._live.refresh()
        else:
            self.say(self._probing)

    def _end(self, probe: Probe, message: str) -> None:
        self._ended.setdefault(probe.model, []).append(probe)
        why = "" if probe.detail is None else f": {one_line(probe.detail)}"
        self.say(f"{self._of(probe.model)}{message}{why}")

    def _finish(self, event: Event, report: TestReport) -> None:
        self.reports[report.model] = report
        # The report of a single test is shown as a whole; one that goes on says nothing yet.
        if self._models and report.status is not Status.TESTING:
            self._say_new(event, self._of(event.model) + event.message)

    def _say_new(self, event: Event, line: str) -> None:
        """Print `line`, unless the last one of this kind about this model was the same."""
        if self._said.get((event.kind, event.model)) != line:
            self._said[event.kind, event.model] = line
            self.say(line)

    def _of(self, model: str | None) -> str:
        """Return what a line about `model` begins with, where there are several."""
        return f"{model}: " if self._models else ""

    def _named(self, model: str | None) -> str:
        """Return `model`, and which of how many it is."""
        if not self._models:
            return f"{model}"
        return f"{model} ({list(self._ended).index(model or '') + 1} of {self._models})"

    def _picture(self) -> RenderableType:
        """Draw which probe runs, how far it is, and what is known so far."""
        probing = Table.grid(padding=(0, 1))
        probing.add_row(self._spinner, Text(self._probing), Text(seconds(self.elapsed_s)))
        step = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            total=self._total, completed=self._done or 0, width=_BAR, pulse=not self._total
        )
        step.add_row(bar, Text(self._step))
        return Group(probing, step, Text(self._known(), style="dim"))

    def _known(self) -> str:
        """Say what the probes of this run have shown so far of the model under test."""
        ended = self._current
        passed = [probe.effective or probe.requested for probe in ended if probe.passed]
        refuted = [p.requested for p in ended if p.outcome is not None and p.outcome.refutes]
        known = f"passed at {tokens(max(passed))}" if passed else "nothing has passed so far"
        return known + (f", failed at {tokens(min(refuted))}" if refuted else "")
