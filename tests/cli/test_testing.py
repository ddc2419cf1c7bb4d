"""`test` and `history`: what a model really holds, and how it was found."""

import json
from typing import Any

import pytest

from cli.conftest import Recorder, Run
from lmstrix.testing import FakeBackend
from lmstrix.values import ProbeList, Proof, ReportList


def test_table_at_the_end_says_what_was_proved(run: Run) -> None:
    """Model, status, tested context, declared, efficiency, speed: what the whole effort is for."""
    result = run("test", "tiny")

    assert result.exit_code == 0
    titles, row = result.stdout.splitlines()
    assert titles.split("  ")[0] == "model"
    assert row.split() == [
        *["tiny", "tested", "16,384", "32,768", "50%"],
        *["1,000", "in,", "50.0", "out"],
    ]


def test_json_is_a_list_of_reports_that_reads_back(run: Run) -> None:
    """The document has the form of the contract, and nothing is lost in it."""
    result = run("test", "tiny", "--json")

    [report] = ReportList.model_validate_json(result.stdout).reports
    assert (report.limits.usable, report.limits.refuted) == (16_384, 17_408)
    assert set(json.loads(result.stdout)) == {"reports"}


def test_pipe_gets_a_forecast_and_a_line_for_each_thing_that_matters(run: Run) -> None:
    """A log of ticks would bury what was found."""
    said = run("test", "tiny").stderr.splitlines()

    assert said[0].startswith("forecast: at most 7 probes")
    assert said[1].startswith("tiny: probe 1 of at most 7: 4,096 tokens: ")
    assert said[2].startswith("4,096 tokens: passed")
    assert said[-1].startswith("stopped: 16,384 tokens passed, 17,408 tokens failed")
    assert len(said) == 2 + 2 * 7
    assert [line for line in said if line.startswith("19,456 tokens: out-of-memory")]


def test_strategy_is_the_one_asked_for(run: Run) -> None:
    """By name; a wrong one is refused with the names there are, before anything is loaded."""
    careful = run("test", "tiny", "--strategy", "certify")
    wrong = run("test", "tiny", "--strategy", "guess")

    assert "failed" not in careful.stderr
    assert "out-of-memory" not in careful.stderr
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("error: unknown strategy: `guess`")
    assert "`certify`" in wrong.stderr


def test_terminal_sees_the_step_under_way_and_what_is_known(run: Run) -> None:
    """A test takes minutes: a person wants to see that it lives, and what it knows."""
    result = run("test", "tiny", env={"TTY_COMPATIBLE": "1", "TERM": "xterm", "COLUMNS": "100"})

    assert "probe 1 of at most 7" in result.stderr
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

    assert "16,384 (loads)" in row


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ([], {"context": 0, "threshold": 102_400, "proof": Proof.FILL, "granularity": 1_024}),
        ([], {"kv_type": None, "memory_budget": None, "timeout_s": 600.0, "force": False}),
        (["--ctx", "8K"], {"context": 8_192}),
        (["--threshold", "16k"], {"threshold": 16_384}),
        (["--proof", "answer"], {"proof": Proof.ANSWER}),
        (["--granularity", "512"], {"granularity": 512}),
        (["--kv-type", "q8_0"], {"kv_type": "q8_0"}),
        (["--memory_budget", "1.5GiB"], {"memory_budget": 3 << 29}),
        (["--timeout", "30"], {"timeout_s": 30.0}),
        (["--force"], {"force": True}),
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
    run("test", "tiny")
    run("test", "[a]", "--ctx", "4k")

    everything = run("history").stdout.splitlines()
    assert len(everything) == 1 + 7 + 1
    assert everything[-1].startswith("[a] ")
    assert "out-of-memory as told" in run("history", "tin").stdout


def test_history_with_json_is_a_list_of_probes_that_reads_back(run: Run) -> None:
    """One form for one model and for all of them."""
    run("test", "tiny")

    assert run("history", "--json").stdout == run("history", "tiny", "--json").stdout
    assert len(ProbeList.model_validate_json(run("history", "--json").stdout).probes) == 7


def test_history_of_nothing_is_empty(run: Run) -> None:
    """No probe is no error."""
    result = run("history")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no probe is recorded\n")
