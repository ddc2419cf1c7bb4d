"""`scan` and `list`: which models there are."""

import json

import pytest
from click.testing import CliRunner

from cli.conftest import Recorder, Run
from lmstrix import app
from lmstrix.cli import cli
from lmstrix.testing import FakeBackend, FakeModel

NOTHING = "no model matches; `lmstrix doctor` shows where models are looked for\n"


def rows(text: str) -> list[list[str]]:
    """Return the cells of a plain table without its titles."""
    return [line.split("  ") for line in text.splitlines()[1:]]


def test_scan_prints_the_models_found(run: Run) -> None:
    """Nothing was known before; nothing has to be asked for again."""
    result = run("scan")

    assert [row[0] for row in rows(result.stdout)] == ["[a]", "tiny"]
    assert result.stderr == "known models: 2\n"


def test_scan_with_json_is_the_page_of_models(run: Run) -> None:
    """The same form as `list --json`, so that one reader serves both."""
    found = json.loads(run("scan", "--json").stdout)

    assert [model["key"] for model in found["models"]] == ["[a]", "tiny"]
    assert (found["total"], found["next_offset"]) == (2, None)
    assert found == json.loads(run("list", "--json").stdout)


class Choosy(FakeBackend):
    """A runtime that passes over what it cannot read."""

    def problems(self) -> tuple[str, ...]:
        """Return one problem."""
        return ("broken.gguf: not a GGUF file",)


def test_scan_says_on_stderr_what_was_passed_over(run: Run, strix: Recorder) -> None:
    """A file that is silently missing costs an afternoon."""
    strix._backend = Choosy()

    result = run("scan", "--json")

    assert result.stderr == "passed over: broken.gguf: not a GGUF file\n"
    assert json.loads(result.stdout)["total"] == 1


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        ((), ["[a]", "tiny"]),
        (("--sort", "idd"), ["tiny", "[a]"]),
        (("--sort", "id", "--desc"), ["tiny", "[a]"]),
        (("--sort", "declared"), ["[a]", "tiny"]),
        (("--sort", "declaredd"), ["tiny", "[a]"]),
        (("--filter", "TIN"), ["tiny"]),
        (("--filter", "[a]"), ["[a]"]),
        (("--tested",), ["[a]"]),
        (("--untested",), ["tiny"]),
        (("--loaded",), ["tiny"]),
        (("--sort", "ctx"), ["[a]", "tiny"]),
    ],
)
def test_list_shows_what_was_asked_for_in_the_order_asked_for(
    run: Run, backend: FakeBackend, args: tuple[str, ...], keys: list[str]
) -> None:
    """Every option of `list` changes what is listed."""
    assert run("test", "[a]", "--ctx", "4k").exit_code == 0
    backend.preload("tiny", 8_192)

    assert run("list", "--show", "id", *args).stdout.split() == keys


def test_list_shows_paths_and_the_bare_array(run: Run) -> None:
    """`xargs` wants paths, `jq` an array."""
    assert run("list", "--show", "path").stdout == "/models/[a].gguf\n/models/tiny.gguf\n"
    shown = json.loads(run("list", "--show", "json").stdout)
    assert shown == json.loads(run("list", "--json").stdout)["models"]


def test_list_that_matches_nothing_prints_nothing_on_stdout(run: Run) -> None:
    """An empty answer is not an error, and not a table either."""
    result = run("list", "--filter", "whale")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", NOTHING)


def test_list_of_what_is_loaded_asks_the_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry does not know what is loaded, and `list` alone does not open the runtime."""
    backend = FakeBackend(FakeModel(key="tiny"))
    monkeypatch.setattr(app, "open_backend", lambda _: backend)
    CliRunner().invoke(cli, ["scan"])
    backend.preload("tiny", 8_192)

    assert CliRunner().invoke(cli, ["list", "--loaded", "--show", "id"]).stdout == "tiny\n"


def test_list_says_with_what_context_a_model_is_loaded(run: Run, backend: FakeBackend) -> None:
    """What is loaded answers at once."""
    backend.preload("tiny", 8_192)

    [row] = rows(run("list", "--loaded").stdout)

    assert row[-1].strip() == "8,192"
