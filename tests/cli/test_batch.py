"""`test --all`: every model gets its chance, and one table says what came of it."""

import json
from collections.abc import Sequence

import pytest

from cli.conftest import GIB, Run
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.values import Outcome, ProbeList, ReportList

ANSWER = ("test", "--all", "--proof", "answer")


@pytest.fixture
def models() -> Sequence[FakeModel]:
    """Four models, the smallest first; one crashes at every load, one generates no text."""
    return (
        FakeModel(key="small", declared=4_096, fixed_bytes=GIB // 8),
        FakeModel(
            key="crashing",
            declared=4_096,
            fixed_bytes=GIB // 4,
            fails_load=dict.fromkeys(range(1, 4_097), Outcome.CRASHED),
        ),
        FakeModel(key="text-embedding", declared=2_048, fixed_bytes=GIB // 3),
        FakeModel(key="big", declared=32_768, fixed_bytes=GIB),
    )


def names(stdout: str) -> Sequence[str]:
    """Return the first word of each line, as far as the first empty one."""
    lines = stdout.splitlines()
    return [line.split()[0] for line in lines[: lines.index("")]]


def test_table_totals_and_reasons_are_printed_in_the_end(run: Run) -> None:
    """A failed model is a row like any other; one that was left out says why."""
    result = run(*ANSWER)

    table, totals, skipped = result.stdout.split("\n\n")
    titles, *rows = (line.split() for line in table.splitlines())
    assert titles[:4] == ["model", "status", "tested", "declared"]
    assert [(row[0], row[1]) for row in rows] == [
        ("small", "tested"),
        ("crashing", "failed"),
        ("big", "tested"),
    ]
    probes = ProbeList.model_validate_json(run("history", "--json").stdout).probes
    failures = [probe for probe in probes if probe.outcome is Outcome.CRASHED]
    read = sum(probe.prefilled_tokens for probe in probes)
    assert totals.startswith(
        f"probes: {len(probes)}, failures: {len(failures)}, tokens read: {read:,}, time: "
    )
    assert failures
    assert [line.split(maxsplit=2)[:2] for line in skipped.splitlines()[1:]] == [
        ["crashing", "failed"],
        ["text-embedding", "skipped"],
    ]
    assert "it makes embeddings, and generates no text" in skipped
    assert "4,096 tokens failed: crashed" in skipped
    assert result.exit_code == 0


def test_json_has_the_reports_and_what_was_skipped(run: Run) -> None:
    """One document, whatever became of the models; the progress stays on stderr."""
    found = json.loads(run(*ANSWER, "--json").stdout)

    assert [report["model"] for report in found["reports"]] == ["small", "crashing", "big"]
    assert [skipped["model"] for skipped in found["skipped"]] == ["text-embedding"]


def test_progress_says_which_model_of_how_many(run: Run) -> None:
    """After an hour one wants to know how far it is, and every line names its model."""
    said = run(*ANSWER).stderr.splitlines()

    assert said[0].startswith("text-embedding is skipped: ")
    assert said[1].startswith("0 of 3 models done: ")
    begun = [line.split(" probe ")[0] for line in said if ": probe 1 of at most " in line]
    assert begun == ["small (1 of 3):", "crashing (2 of 3):", "big (3 of 3):"]
    assert len([line for line in said if line.startswith("small: forecast: at most ")]) == 1
    assert len([line for line in said if line.startswith("small: 4,096 tokens: passed")]) == 1
    assert len([line for line in said if line.startswith("small: 4,096 tokens passed, and")]) == 1
    assert said[-1].startswith("3 of 3 models done: ")


def test_table_is_sorted_as_asked_while_the_tests_are_not(run: Run, backend: FakeBackend) -> None:
    """The smallest is tested first, as it costs least; the reader may want another order."""
    assert names(run(*ANSWER, "--sort", "ctxd").stdout) == ["model", "big", "small", "crashing"]

    begun = [call.identifier.split(":")[0] for call in backend.calls if call.name == "load"]
    assert list(dict.fromkeys(begun)) == ["small", "crashing", "big"]


def test_filter_chooses_the_models(run: Run) -> None:
    """Of a hundred models one wants a family."""
    assert names(run(*ANSWER, "--filter", "SMALL").stdout) == ["model", "small"]


def test_one_size_for_all_models_skips_those_that_declare_less(run: Run) -> None:
    """`--ctx` with `--all` asks which of them can do that much."""
    found = json.loads(run(*ANSWER, "--ctx", "8k", "--json").stdout)

    assert [report["model"] for report in found["reports"]] == ["big"]
    reasons = {skipped["model"]: skipped["reason"] for skipped in found["skipped"]}
    assert reasons["small"] == "it declares 4,096 tokens"


def test_batch_in_which_every_model_failed_exits_1(run: Run) -> None:
    """Tested, and no context works: as for a single model."""
    assert run(*ANSWER, "--filter", "crash").exit_code == 1


def test_batch_with_nothing_left_to_test_is_well_and_says_how_to_test_again(run: Run) -> None:
    """A nightly run must not fail since yesterday's was complete."""
    run(*ANSWER)
    again = run(*ANSWER)

    assert again.exit_code == 0
    assert "`--reset` tests again" in again.stderr
    assert [line.split()[0] for line in again.stdout.splitlines()] == [
        *["model", "small", "crashing", "text-embedding", "big"]
    ]


def test_batch_of_what_cannot_be_tested_is_a_wrong_request(run: Run, backend: FakeBackend) -> None:
    """It was not tested before either, so 0 would be a lie."""
    result = run("test", "--all", "--filter", "embedding")

    assert result.exit_code == 2
    assert "none of these models can be tested" in result.stderr
    assert backend.calls == []


def test_dry_run_forecasts_each_model_and_all_together(run: Run, backend: FakeBackend) -> None:
    """Before a night's work, one wants to know whether it is a night's."""
    table, skipped = run("test", "--all", "--dry-run").stdout.split("\n\n")

    rows = [line.split() for line in table.splitlines()[1:]]
    assert [row[0] for row in rows] == ["small", "crashing", "big", "all"]
    assert int(rows[-1][2]) == sum(int(row[1]) for row in rows[:-1])
    assert skipped.splitlines()[1].split()[:2] == ["text-embedding", "skipped"]
    assert backend.calls == []


def test_dry_run_with_json_has_the_forecasts_and_touches_nothing(
    run: Run, backend: FakeBackend
) -> None:
    """The same form as after the tests."""
    found = ReportList.model_validate_json(run("test", "--all", "--dry-run", "--json").stdout)

    assert [report.forecast is None for report in found.reports] == [False] * 3
    assert [skipped.model for skipped in found.skipped] == ["text-embedding"]
    assert backend.calls == []


def test_files_that_are_no_models_are_named(
    run: Run, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever tests all models wants to know of the one whose file is damaged."""
    monkeypatch.setattr(backend, "problems", lambda: ["bad.gguf: cut short"])

    found = ReportList.model_validate_json(run(*ANSWER, "--json").stdout)
    filtered = run(*ANSWER, "--reset", "--filter", "small", "--json").stdout

    assert ("bad.gguf", "cut short") in {(one.model, one.reason) for one in found.skipped}
    assert "bad.gguf" not in filtered


@pytest.mark.parametrize("option", [["--min-tps", "1"], ["--kv-type", "q8_0"], ["--reset"]])
def test_options_of_one_test_are_those_of_many(run: Run, option: Sequence[str]) -> None:
    """They mean the same for each model; only the speed by depth is left to single tests."""
    result = run(*ANSWER, "--filter", "small", *option)

    assert result.exit_code == 0
    assert "usable at" not in result.stdout
