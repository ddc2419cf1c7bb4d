"""`test` and `history`: what a model really holds, and how it was found."""

import json
from typing import Any

import pytest

from cli.conftest import GIB, Recorder, Run
from lmstrix.testing import FakeBackend
from lmstrix.values import ProbeList, Proof, ReportList


def test_table_at_the_end_says_what_was_proved(run: Run) -> None:
    """Model, status, tested context, declared, efficiency, speed: what the whole effort is for."""
    result = run("test", "tiny")

    assert result.exit_code == 0
    titles, row = result.stdout.split("\n\n")[0].splitlines()
    assert titles.split("  ")[0] == "model"
    assert row.split() == [
        *["tiny", "tested", "15,872", "32,768", "48%"],
        *["994", "in,", "50.0", "out"],
    ]


def test_json_is_a_list_of_reports_that_reads_back(run: Run) -> None:
    """The document has the form of the contract, and nothing is lost in it."""
    result = run("test", "tiny", "--strategy", "bisect", "--json")

    [report] = ReportList.model_validate_json(result.stdout).reports
    assert (report.limits.usable, report.limits.refuted) == (16_384, 17_408)
    assert set(json.loads(result.stdout)) == {"reports", "skipped"}


def test_dry_run_forecasts_and_loads_nothing(run: Run, backend: FakeBackend) -> None:
    """Whoever has little time or memory asks first; nothing is known of speed before a probe."""
    result = run("test", "tiny", "--dry-run")

    assert result.exit_code == 0
    found = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    assert found["model"].strip() == "tiny"
    assert found["probes"].strip().startswith("at most ")
    assert found["tokens to read"].strip().startswith("at most ")
    assert found["memory"].strip() == "at most 2.0 GiB for each probe"
    assert found["time"].strip() == "unknown before a first probe"
    assert backend.calls == []
    assert run("history").stdout == ""


def test_dry_run_tells_the_time_once_the_speed_is_known(run: Run) -> None:
    """That is the figure people plan by."""
    run("test", "tiny")

    assert "unknown" not in run("test", "tiny", "--dry-run").stdout


def test_dry_run_with_json_has_the_forecast_in_the_report(run: Run) -> None:
    """A script reads the same figures, in the same document as after a test."""
    [report] = ReportList.model_validate_json(
        run("test", "tiny", "--dry-run", "--json").stdout
    ).reports

    assert report.probes == ()
    assert report.forecast is not None
    assert report.forecast.memory_bytes == 2 * GIB


def test_speed_by_depth_is_shown_below_what_was_proved(run: Run) -> None:
    """A window that holds may still be too slow at its end to be of use."""
    _, depths = run("test", "tiny").stdout.split("\n\n")

    titles, *rows = depths.splitlines()
    assert titles.split("  ") == [
        *[" depth", "prefill, tok/s", "decode, tok/s", "first token", " memory"]
    ]
    assert len(rows) > 2
    assert rows[-1].startswith("15,7")
    assert rows[-1].split()[1:] == ["1,000", "50.0", "16", "s", "2.0", "GiB"]
    assert len({len(row) for row in rows}) == 1  # numbers stand below each other


def test_facts_recalled_are_shown_by_depth_and_in_history(run: Run) -> None:
    """Where a model forgets is what the proof `recall` is about."""
    table, depths = run("test", "tiny", "--proof", "recall").stdout.split("\n\n")

    assert table.splitlines()[0].split()[-1] == "recall"
    assert table.splitlines()[1].split()[-1] == "15,872"
    assert depths.splitlines()[0].split()[-1] == "recall"
    assert {row.split()[-1] for row in depths.splitlines()[1:]} == {"8/8"}
    assert "8/8" in run("history").stdout.splitlines()[-1]


@pytest.mark.parametrize(("asked", "found"), [("20", "15,7"), ("60.5", "no depth that")])
def test_speed_that_was_asked_for_is_answered(run: Run, asked: str, found: str) -> None:
    """`--min-tps` asks how deep; a model that is too slow everywhere has no such depth."""
    said = run("test", "tiny", "--min-tps", asked).stdout.splitlines()[-1]

    assert said.startswith(f"usable at {asked} tok/s: {found}")


def test_nothing_is_said_of_a_speed_that_nobody_asked_for(run: Run) -> None:
    """Most people did not."""
    assert "usable at" not in run("test", "tiny", "--ctx", "4k").stdout


def test_pipe_gets_a_forecast_and_a_line_for_each_thing_that_matters(run: Run) -> None:
    """A log of ticks would bury what was found."""
    said = run("test", "tiny", "--strategy", "bisect").stderr.splitlines()

    assert "at most 2.0 GiB for the model" in said[0]
    most = said[1].removeprefix("forecast: at most ").split()[0]
    assert said[2].startswith(f"tiny: probe 1 of at most {most}: 4,096 tokens: ")
    assert said[3].startswith("4,096 tokens: passed")
    assert said[-1].startswith("stopped: 16,384 tokens passed, 17,408 tokens failed")
    assert said[4].startswith("forecast of the rest: at most ")
    assert len(said) == 4 + 2 * 7
    assert [line for line in said if line.startswith("19,456 tokens: out-of-memory")]


def test_strategy_is_the_one_asked_for(run: Run) -> None:
    """By name; a wrong one is refused with the names there are, before anything is loaded."""
    careful = run("test", "tiny")
    bold = run("test", "tiny", "--strategy", "bisect")
    wrong = run("test", "tiny", "--strategy", "guess")

    assert "failed" not in careful.stderr
    assert "out-of-memory" not in careful.stderr
    assert "out-of-memory" in bold.stderr
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: unknown strategy: `guess`")
    assert "`certify`" in wrong.stderr


def test_terminal_sees_the_step_under_way_and_what_is_known(run: Run) -> None:
    """A test takes minutes: a person wants to see that it lives, and what it knows."""
    terminal = {"TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "100"}
    result = run("test", "tiny", "--strategy", "bisect", env=terminal)

    assert "tiny: probe 1 of at most " in result.stderr
    assert "passed at 16,384, failed at 17,408" in result.stderr
    assert "\x1b[?25h" in result.stderr  # the cursor is shown again
    assert "probe" not in result.stdout


def test_model_that_holds_nothing_exits_1(run: Run) -> None:
    """A script must be able to tell that no context works, which is no error."""
    result = run("test", "tiny", "--json", "--memory-budget", "1MiB")

    assert result.exit_code == 1
    [report] = json.loads(result.stdout)["reports"]
    assert (report["status"], report["limits"]["usable"]) == ("failed", None)


def test_machine_that_lacks_the_memory_exits_3_and_loads_nothing(
    run: Run, backend: FakeBackend
) -> None:
    """That says nothing of the model, and to try would be no favour to the machine."""
    backend._budget_bytes = 1

    result = run("test", "tiny", "--json")

    assert result.exit_code == 3
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "unsafe"
    assert "close other programs" in error["hint"]
    assert backend.calls == []


def test_proof_that_is_weaker_is_shown_as_such(run: Run) -> None:
    """A context that merely loads must not pass for one that works."""
    row = run("test", "tiny", "--proof", "load").stdout.splitlines()[1]

    assert "15,872 (loads)" in row


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ([], {"context": 0, "threshold": 102_400, "proof": Proof.FILL, "granularity": 1_024}),
        ([], {"kv_type": None, "memory_budget": None, "timeout_s": 600.0, "force": False}),
        ([], {"strategy": "certify", "document": "prose", "min_tps": None, "reset": False}),
        (["--ctx", "8K"], {"context": 8_192}),
        (["--threshold", "16k"], {"threshold": 16_384}),
        (["--proof", "answer"], {"proof": Proof.ANSWER}),
        (["--granularity", "512"], {"granularity": 512}),
        (["--kv-type", "q8_0"], {"kv_type": "q8_0"}),
        (["--memory_budget", "1.5GiB"], {"memory_budget": 3 << 29}),
        (["--timeout", "30"], {"timeout_s": 30.0}),
        (["--force"], {"force": True}),
        (["--reset"], {"reset": True}),
        (["--strategy", "exact"], {"strategy": "exact"}),
        (["--document", "code"], {"document": "code"}),
        (["--min-tps", "2.5"], {"min_tps": 2.5}),
        (
            ["--proof=answer", "--prompt", "-1+43=?", "--expect", "forty-two"],
            {"prompt": "-1+43=?", "expect": "forty-two"},
        ),
        (["--dry-run"], {"dry_run": True}),
    ],
)
def test_every_option_reaches_the_engine(
    run: Run, strix: Recorder, args: list[str], asked: dict[str, Any]
) -> None:
    """An option that is shown must do what it says."""
    assert run("test", "tiny", *args).exit_code == 0
    assert strix.asked.items() >= asked.items()


def test_history_shows_every_probe_with_the_runtimes_words(run: Run) -> None:
    """What was measured can be looked up without being measured again."""
    run("test", "tiny", "--strategy", "bisect")
    run("test", "[a]", "--ctx", "4k")

    everything = run("history").stdout.splitlines()
    assert len(everything) == 1 + 7 + 1
    assert everything[-1].startswith("[a] ")
    assert "out-of-memory as told" in run("history", "tin").stdout


def test_history_with_json_is_a_list_of_probes_that_reads_back(run: Run) -> None:
    """One form for one model and for all of them."""
    run("test", "tiny")

    assert run("history", "--json").stdout == run("history", "tiny", "--json").stdout
    assert len(ProbeList.model_validate_json(run("history", "--json").stdout).probes) == 5


def test_history_of_nothing_is_empty(run: Run) -> None:
    """No probe is no error."""
    result = run("history")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no probe is recorded\n")
