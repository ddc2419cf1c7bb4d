"""Tables fit where they are read, and JSON is JSON whatever the terminal can show."""

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.cli.output import emit_json, show_facts, show_table
from lmstrix.cli.views import memory, one_line, seconds, share, speed, tokens

TITLES = ("model", "status", "tested", "why")
ROW = ("[bold]a-model-with-quite-a-long-key", "tested", "1,048,576", "because it was so " * 4)


def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> str:
    """Return the table as a terminal of that width gets it, without colour."""
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    show_table(TITLES, [ROW], text_columns=("status", "why"))
    return capsys.readouterr().out


def test_pipe_gets_one_line_for_each_row_and_no_decoration(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`awk` and `grep` work by lines, however long they are."""
    show_table(TITLES, [ROW, ROW], text_columns=("status", "why"))

    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert out.isascii()
    assert "\x1b" not in out
    assert [line for line in out.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("width", [200, 100, 70, 40, 20])
def test_terminal_of_any_width_shows_every_number_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """Half a number is a wrong number."""
    out = shown(monkeypatch, capsys, width)

    assert "1,048,576" in out
    assert "…" not in out


@pytest.mark.parametrize("width", [200, 20])
def test_name_that_looks_like_markup_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    """A key must be readable to be typed again."""
    assert "[bold]a-" in shown(monkeypatch, capsys, width)


def test_no_color_is_respected(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bold is not a colour; 3x and 4x are."""
    out = shown(monkeypatch, capsys, 100)

    assert "\x1b[3" not in out
    assert "\x1b[4" not in out


def test_table_without_rows_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Titles of nothing are noise."""
    show_table(TITLES, [])

    assert capsys.readouterr().out == ""


def test_facts_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    """The eye finds a value by its column."""
    show_facts([("a", "1"), ("longer", "2")])

    assert capsys.readouterr().out == "a       1\nlonger  2\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@given(text=st.text())
def test_json_reads_back_whatever_the_encoding(encoding: str, text: str) -> None:
    """A terminal that lacks a character must not make JSON invalid."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", newline="")
    before, sys.stdout = sys.stdout, stream
    try:
        emit_json({"text": text})
        stream.flush()
    finally:
        sys.stdout = before

    assert json.loads(raw.getvalue().decode(encoding)) == {"text": text}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (tokens(None), "-"),
        (tokens(12_288), "12,288"),
        (memory(None), "-"),
        (memory(3 << 29), "1.5 GiB"),
        (seconds(None), "-"),
        (seconds(1.54), "1.5 s"),
        (seconds(42.3), "42 s"),
        (seconds(240), "4 min"),
        (seconds(4_830), "1 h 20 min"),
        (speed(None, None), "-"),
        (speed(1_203.4, None), "1,203 in"),
        (speed(None, 48.06), "48.1 out"),
        (share(None), "-"),
        (share(0.384), "38%"),
        (one_line(None), "-"),
        (one_line("two\n  lines\n"), "two lines"),
    ],
)
def test_values_are_written_for_people_and_the_unknown_is_a_dash(said: str, expected: str) -> None:
    """A 0 would be a claim."""
    assert said == expected
