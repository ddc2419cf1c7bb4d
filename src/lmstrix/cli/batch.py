"""`lmstrix test --all`: many models, and a table of what is done however it ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import click

from lmstrix.cli.output import emit_json, note
from lmstrix.cli.progress import AGAIN, TestProgress
from lmstrix.cli.reports import show_forecasts, show_reports, show_skipped, together, totals
from lmstrix.cli.session import Session
from lmstrix.cli.stopping import OrderlyStop, Stopped
from lmstrix.engine.batch import TESTED_BEFORE
from lmstrix.engine.catalogue import Query
from lmstrix.errors import BackendError, RequestError
from lmstrix.values import ReportList, Status

INTERRUPTED: Final = 130


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A test of many models.

    Attributes:
        session: The run it belongs to.
        query: Which models, and how the table is sorted.
        is_sorted: Whether it is; else the models stand in the order in which they are tested.
        how: The options of the tests.
    """

    session: Session
    query: Query
    is_sorted: bool
    how: Mapping[str, Any]

    def forecast(self) -> int:
        """Print what the tests will take, and return the exit code. Nothing is loaded."""
        forecast = self._forecast()
        if self.session.as_json:
            emit_json(forecast)
        else:
            show_forecasts(forecast)
        return 0

    def run(self) -> int:
        """Test, print what came of it, and return the exit code."""
        forecast = self._forecast()
        if not forecast.reports:
            return self._idle(forecast)
        progress = TestProgress(self.session, models=len(forecast.reports))
        progress.warn_if_long(together(forecast))
        try:
            with progress, OrderlyStop(progress) as stop:
                found = self.session.strix.test_all(query=self.query, on_event=stop, **self.how)
        except Stopped:
            done = ReportList(reports=tuple(progress.reports.values()), skipped=forecast.skipped)
            self._show(done, totals(progress.probes, progress.elapsed_s))
            note(f"interrupted: {_share_done(done, len(forecast.reports))}; {AGAIN}")
            return INTERRUPTED
        self._show(found, totals(progress.probes, progress.elapsed_s))
        return _exit_code(found)

    def _forecast(self) -> ReportList:
        """Return what the tests will take, and which models are skipped.

        Raises:
            RequestError: There is no such model.
        """
        forecast = self.session.strix.test_all(query=self.query, dry_run=True, **self.how)
        if not (forecast.reports or forecast.skipped):
            raise RequestError(
                f"no model matches `{self.query.query}`"
                if self.query.query
                else "no model is known",
                hint="`lmstrix scan` says what models there are, and what was passed over",
            )
        return self._sorted(forecast)

    def _idle(self, forecast: ReportList) -> int:
        """Say why there is nothing to test; that is well if all was tested before."""
        self._show(forecast)
        if any(skipped.reason == TESTED_BEFORE for skipped in forecast.skipped):
            note(
                "nothing is left to test: `--reset` tests again, `lmstrix list` shows what is known"
            )
            return 0
        note("none of these models can be tested like this")
        return RequestError.exit_code

    def _show(self, found: ReportList, took: str = "") -> None:
        if self.session.as_json:
            emit_json(self._sorted(found))
            return
        if found.reports:
            show_reports(self._sorted(found).reports)
            click.echo(f"\n{took}")
        failed = [report for report in found.reports if report.status is Status.FAILED]
        if found.reports and (failed or found.skipped):
            click.echo()
        show_skipped(found.skipped, failed)

    def _sorted(self, found: ReportList) -> ReportList:
        """Return `found` with its reports in the order of the query, if one was asked for."""
        if not self.is_sorted:
            return found
        keys = [model.key for model in self.session.strix.list_models(query=self.query).models]
        reports = tuple(sorted(found.reports, key=lambda report: keys.index(report.model)))
        return found.model_copy(update={"reports": reports})


def _share_done(done: ReportList, models: int) -> str:
    tested = sum(report.status in {Status.TESTED, Status.FAILED} for report in done.reports)
    return f"{tested} of {models} models are tested"


def _exit_code(found: ReportList) -> int:
    if any(report.status is not Status.FAILED for report in found.reports):
        return 0
    return 1 if found.reports else BackendError.exit_code
