"""How reports of tests look: a row for each, what they took together, the speed by depth."""

from collections.abc import Sequence
from typing import Final

import click

from lmstrix.cli.output import show_facts, show_table
from lmstrix.cli.views import (
    LIMIT_TITLES,
    limit_cells,
    memory,
    rate,
    recalled,
    seconds,
    tokens,
)
from lmstrix.engine.batch import total
from lmstrix.values import Forecast, Probe, Proof, ReportList, Skipped, Stair, TestReport

NO_TIME_YET: Final = "unknown before a first probe"


def show_reports(reports: Sequence[TestReport]) -> None:
    """Print a row for each report: model, status, tested context, declared, efficiency, speed.

    Where facts were to be recalled, so is how deep they were found.
    """
    with_recall = any(probe.proof is Proof.RECALL for r in reports for probe in r.probes)
    show_table(
        ("model", "status", *LIMIT_TITLES, *["recall"] * with_recall),
        [
            (
                report.model,
                report.status.value,
                *limit_cells(report.limits, None),
                *[tokens(report.limits.recall)] * with_recall,
            )
            for report in reports
        ],
        text_columns=("status",),
    )


def show_depths(report: TestReport) -> None:
    """Print speed, memory and recall at each depth of the last window that was filled."""
    filled = [probe for probe in report.probes if probe.passed and probe.stairs]
    if not filled:
        return
    stairs = filled[-1].stairs
    with_recall = any(stair.recall for stair in stairs)
    click.echo()
    show_table(
        (
            *("depth", "prefill, tok/s", "decode, tok/s", "first token", "memory"),
            *["recall"] * with_recall,
        ),
        [(*_depth_cells(stair), *[recalled(stair.recall)] * with_recall) for stair in stairs],
        first_is_text=False,
    )


def show_speed_limit(report: TestReport, min_tps: float) -> None:
    """Print how deep the window can be read at `min_tps` generated tokens a second."""
    depth = report.usable_at_speed
    found = "no depth that was filled" if depth is None else f"{tokens(depth)} tokens"
    click.echo(f"\nusable at {min_tps:g} tok/s: {found}")


def show_skipped(skipped: Sequence[Skipped], failed: Sequence[TestReport] = ()) -> None:
    """Print a row for each model that was not tested, or in vain, and why."""
    rows = [(report.model, "failed", report.stopped_because) for report in failed]
    rows += [(one.model, "skipped", one.reason) for one in skipped]
    show_table(("model", "", "why"), rows, text_columns=("", "why"))


def show_forecast(report: TestReport) -> None:
    """Print what the test of one model will take."""
    forecast = report.forecast
    if forecast is None:
        return
    most = (
        "no limit" if forecast.memory_bytes is None else f"at most {memory(forecast.memory_bytes)}"
    )
    show_facts(
        [
            ("model", report.model),
            ("probes", f"at most {forecast.probes}"),
            ("tokens to read", f"at most {tokens(forecast.prefill_tokens)}"),
            ("memory", f"{most} for each probe"),
            ("time", _time_cell(forecast)),
        ]
    )


def show_forecasts(found: ReportList) -> None:
    """Print what the test of each model will take at most, and all of them together."""
    rows = [(r.model, *_forecast_cells(r.forecast)) for r in found.reports if r.forecast]
    if len(rows) > 1:
        rows.append(("all together", *_forecast_cells(together(found))))
    show_table(
        ("model", "probes", "tokens to read", "memory", "time"), rows, text_columns=("time",)
    )
    if rows and found.skipped:
        click.echo()
    show_skipped(found.skipped)


def together(found: ReportList) -> Forecast:
    """Return what the tests forecast in `found` take together."""
    return total([report.forecast for report in found.reports if report.forecast is not None])


def totals(probes: Sequence[Probe], elapsed_s: float) -> str:
    """Return what `probes` took together, in one line."""
    failures = sum(not (probe.outcome is None or probe.passed) for probe in probes)
    read = sum(probe.prefilled_tokens for probe in probes)
    return (
        f"probes: {len(probes)}, failures: {failures}, tokens read: {tokens(read)}, "
        f"time: {seconds(elapsed_s)}"
    )


def _depth_cells(stair: Stair) -> Sequence[str]:
    return (
        tokens(stair.depth),
        rate(stair.prefill_tps, 0),
        rate(stair.decode_tps, 1),
        seconds(stair.ttft_s),
        memory(stair.memory_bytes),
    )


def _forecast_cells(forecast: Forecast) -> Sequence[str]:
    return (
        f"{forecast.probes}",
        tokens(forecast.prefill_tokens),
        memory(forecast.memory_bytes),
        _time_cell(forecast),
    )


def _time_cell(forecast: Forecast) -> str:
    return NO_TIME_YET if forecast.seconds is None else seconds(forecast.seconds)
