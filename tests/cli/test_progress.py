"""What a person is told while a test runs: what is new, once, and what to do about it."""

import signal

import pytest

from lmstrix.cli.progress import LONG_S, TestProgress
from lmstrix.cli.session import Session
from lmstrix.cli.stopping import OrderlyStop, Stopped
from lmstrix.values import Event, Forecast


def planned(seconds: float | None, *, done: int = 0) -> Event:
    """Return a forecast of so many seconds, after so many probes."""
    forecast = Forecast(probes=3, prefill_tokens=9, seconds=seconds, memory_bytes=None)
    return Event(
        kind="planned", model="tiny", done=done, message=f"about {seconds} s", forecast=forecast
    )


def said(capsys: pytest.CaptureFixture[str], *events: Event, models: int = 0) -> list[str]:
    """Return what is said of `events`, a line each."""
    with TestProgress(Session(), models=models) as progress:
        for event in events:
            progress(event)
    return capsys.readouterr().err.splitlines()


def test_forecast_is_told_again_only_if_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    """A better forecast is news; the same one is noise."""
    assert said(capsys, planned(None), planned(None), planned(9.0, done=1)) == [
        "forecast: about None s",
        "forecast of the rest: about 9.0 s",
    ]


def test_long_test_says_beforehand_how_to_stop_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Who knows that nothing is lost need not fear to start it; saying so once is enough."""
    lines = said(capsys, planned(LONG_S), planned(LONG_S + 60), planned(LONG_S + 120))

    [told] = [line for line in lines if "Ctrl-C" in line]
    assert told.startswith("this may take 6 min: Ctrl-C stops it, nothing measured is lost")


def test_note_is_told_and_names_its_model_where_there_are_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Why a model is skipped, what is resumed, what is unloaded: none of it is visible else."""
    resumed = Event(kind="noted", model="tiny", message="going on after 3 probes")
    skipped = Event(kind="noted", model="tiny", message="tiny is skipped: it is small")

    assert said(capsys, resumed) == ["going on after 3 probes"]
    assert said(capsys, resumed, skipped, models=2) == [
        "tiny: going on after 3 probes",
        "tiny is skipped: it is small",
    ]


def test_stop_that_was_not_asked_for_does_not_happen(capsys: pytest.CaptureFixture[str]) -> None:
    """Events are handed on as they are."""
    with TestProgress(Session()) as progress, OrderlyStop(progress) as stop:
        stop(planned(1.0))

    assert capsys.readouterr().err == "forecast: about 1.0 s\n"


def test_ctrl_c_while_nothing_is_probed_stops_at_once() -> None:
    """There is no probe to wait for, and perhaps none will come."""
    with TestProgress(Session()) as progress, OrderlyStop(progress), pytest.raises(Stopped):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_process_told_to_ignore_ctrl_c_goes_on_ignoring_it() -> None:
    """`nohup` and shells that start a job in the background mean it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with TestProgress(Session()) as progress, OrderlyStop(progress):
            signal.raise_signal(signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
