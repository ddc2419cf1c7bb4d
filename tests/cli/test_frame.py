"""Errors: one form, one place, the exit codes of the contract."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.conftest import Recorder, Run
from lmstrix.cli import cli
from lmstrix.errors import RegistryCorruptError
from lmstrix.testing import FakeBackend, MemoryRegistry
from lmstrix.values import Model


def test_error_names_the_problem_and_the_remedy_on_stderr(run: Run) -> None:
    """People read stderr; stdout is for data."""
    result = run("test", "tinny")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "error: no model matches `tinny`\n\nhint: did you mean `tiny`?\n"


def test_error_with_json_is_one_document_on_stdout(run: Run) -> None:
    """A script reads one stream, and finds the same facts there."""
    result = run("test", "tinny", "--json")

    assert result.exit_code == 2
    assert result.stderr == ""
    assert json.loads(result.stdout) == {
        "error": {
            "code": "unknown-model",
            "message": "no model matches `tinny`",
            "hint": "did you mean `tiny`?",
        }
    }


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["lst"], "no such command `lst`", "did you mean `list`?"),
        (["frobnicate"], "no such command `frobnicate`", "`lmstrix --help` shows how it is used"),
        (["--frob"], "no such option `--frob`", "`lmstrix --help` shows how it is used"),
        (["test", "a", "--treshold", "1"], "no such option `--treshold`", "`--threshold`"),
        (["test"], "no model is named", "`lmstrix test --all` tests all"),
        (["test", "a", "--all"], "`a` and `--all` exclude each other", "--all --filter a`"),
        (["test", "a", "--filter", "b"], "`--filter` and `--sort` are for many", "`lmstrix test"),
        (["test", "a", "--sort", "ctx"], "`--filter` and `--sort` are for many", "`lmstrix test"),
        (["test", "--all", "--sort", "beauty"], "`--sort`: unknown sort key", "`declared`"),
        (["test", "--all", "--filter", "zz"], "no model matches `zz`", "`lmstrix scan` says"),
        (["test", "tiny", "--prompt", "2+2="], "needs the answer to expect", "--expect Paris"),
        (["test", "tiny", "--expect", "4"], "needs the answer to expect", "--expect Paris"),
        (["test", "a", "--min-tps", "0"], "0 is not in the range", "lmstrix test --help"),
        (["test", "a", "--proof", "faith"], "`faith` is not one of `load`", "lmstrix test --help"),
        (["test", "a", "--ctx", "many"], "`--ctx`: not a number of tokens: `many`", "`8k`"),
        (["test", "a", "--ctx", "0"], "`--ctx`: 0 tokens cannot be tested", "`8k`"),
        (["test", "a", "--memory-budget", "much"], "`--memory-budget`: not a size", "`6GiB`"),
        (["list", "--sort", "beauty"], "`--sort`: unknown sort key: `beauty`", "`declared`"),
        (["infer", "a", "--out_ctx", "a bit"], "`--out_ctx`: not a number", "`8k`"),
        (["infer", "a", "b", "c"], "unexpected extra argument", "lmstrix infer --help"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_usage_error_has_the_form_of_every_other_error(
    run: Run, args: Sequence[str], message: str, hint: str, *, as_json: bool
) -> None:
    """Whoever handles errors should not have to know which layer noticed."""
    result = run(*args, *["--json"] * as_json)

    assert result.exit_code == 2
    if as_json:
        told = json.loads(result.stdout)["error"]
        assert message in told["message"]
        assert hint in told["hint"]
    else:
        problem, empty, remedy = result.stderr.splitlines()
        assert problem.startswith("error: ")
        assert message in problem
        assert (empty, remedy.split(":")[0]) == ("", "hint")
        assert hint in remedy


def test_json_behind_a_double_dash_does_not_ask_for_json(run: Run) -> None:
    """It is a prompt there, even if the command line is wrong otherwise."""
    result = run("infer", "--frob", "--", "--json")

    assert result.stdout == ""
    assert result.stderr.startswith("error: no such option `--frob`")


def test_json_as_a_value_does_not_ask_for_json(run: Run) -> None:
    """What an option is given is not an option."""
    result = run("infer", "x", "no such model", "--system", "--json")

    assert result.stdout == ""
    assert result.stderr.startswith("error: no model matches")


def test_runtime_that_fails_exits_3(run: Run, backend: FakeBackend) -> None:
    """The exit code tells a script whose fault it was."""
    backend.reachable = False

    result = run("scan")

    assert result.exit_code == 3
    assert result.stderr == "error: the fake runtime is not there\n\nhint: start it\n"


class Damaged(MemoryRegistry):
    """A registry that cannot be read."""

    def models(self) -> Sequence[Model]:
        """Fail."""
        raise RegistryCorruptError(Path("registry.sqlite3"), "it is a poem")


def test_registry_that_cannot_be_read_exits_4(run: Run, strix: Recorder) -> None:
    """What was measured is worth an exit code of its own."""
    strix._registry = Damaged()

    assert run("list").exit_code == 4


class Buggy(MemoryRegistry):
    """A registry with a mistake in it."""

    def models(self) -> Sequence[Model]:
        """Make the mistake."""
        raise ZeroDivisionError


def test_bug_keeps_its_traceback(run: Run, strix: Recorder) -> None:
    """What nobody meant is not dressed up as an error of the user's."""
    strix._registry = Buggy()

    with pytest.raises(ZeroDivisionError):
        run("list")


def test_setting_that_cannot_be_used_exits_2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are read inside the frame, not before it."""
    monkeypatch.setenv("LMSTRIX_BACKEND", "abacus")

    result = CliRunner().invoke(cli, ["list"])

    assert result.exit_code == 2
    assert result.stderr.startswith("error: LMSTRIX_BACKEND is unknown: `abacus`\n\nhint: ")


def test_no_command_shows_the_help_and_is_a_usage_error(run: Run) -> None:
    """A script that forgot the command must notice; a person wants to see the commands."""
    result = run()

    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr
