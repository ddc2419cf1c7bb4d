"""What a person sees of a test while it runs, on stderr.

A terminal shows a bar, the step under way and what is known so far; a pipe gets one line for each
thing that matters. Rich redraws in a thread of its own, which only reads what is set here.
"""

import time
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
from lmstrix.values import Event, Probe

_BAR: Final = 20


class TestProgress:
    """Follows a test as its `on_event`, from entering the context to leaving it."""

    __test__ = False  # pytest: not a test class

    def __init__(self, session: Session) -> None:
        self._session = session
        self._console = Console(stderr=True, highlight=False)
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._probing = "looking at the machine"
        self._step = ""
        self._done: float | None = None
        self._total: float | None = None
        self._ended: list[Probe] = []
        # Comes last, for it asks for a first picture at once. Stdout is left to the data.
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            transient=True,
            redirect_stdout=False,
        )
        self._is_drawn = self._console.is_terminal and not self._console.is_dumb_terminal

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
                self._say(f"forecast: {event.message}")
            case "probe-started":
                self._start(event)
            case "probe-ended" if event.probe is not None:
                self._end(event.probe, event.message)
            case "loading" | "loaded" | "prefill" | "decode":
                self._step, self._done, self._total = event.message, event.done, event.total
            case _:
                pass  # told for other commands

    def _start(self, event: Event) -> None:
        number, most = len(self._ended) + 1, f" of at most {event.total:.0f}" if event.total else ""
        self._probing = f"{event.model}: probe {number}{most}: {event.message}"
        self._step, self._done, self._total = "", None, None
        self._session.kept = (
            f"the probes of `{event.model}` that ended are recorded ({len(self._ended)}); "
            f"the one at {tokens(event.context)} tokens proves nothing"
        )
        if self._is_drawn:
            self._live.refresh()
        else:
            self._say(self._probing)

    def _end(self, probe: Probe, message: str) -> None:
        self._ended.append(probe)
        self._say(message if probe.detail is None else f"{message}: {one_line(probe.detail)}")

    def _say(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def _picture(self) -> RenderableType:
        """Draw which probe runs, how far it is, and what is known so far."""
        probing = Table.grid(padding=(0, 1))
        probing.add_row(
            self._spinner, Text(self._probing), Text(seconds(time.monotonic() - self._began))
        )
        step = Table.grid(padding=(0, 1))
        bar = ProgressBar(
            total=self._total, completed=self._done or 0, width=_BAR, pulse=not self._total
        )
        step.add_row(bar, Text(self._step))
        return Group(probing, step, Text(self._known(), style="dim"))

    def _known(self) -> str:
        """Say what the probes of this run have shown so far."""
        passed = [probe.effective or probe.requested for probe in self._ended if probe.passed]
        refuted = [p.requested for p in self._ended if p.outcome is not None and p.outcome.refutes]
        known = f"passed at {tokens(max(passed))}" if passed else "nothing has passed so far"
        return known + (f", failed at {tokens(min(refuted))}" if refuted else "")
