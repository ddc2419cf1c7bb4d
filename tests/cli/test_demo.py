"""`demo`: the whole of LMStrix in one command, here on a model that only pretends to be real."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from cli.answers import answering
from cli.conftest import Recorder, Run
from lmstrix.backends.llamacpp import packaged
from lmstrix.cli.demo import DEMO_PROMPT, FIRST_CONTEXT, HEADROOM, on_llamacpp
from lmstrix.settings import Settings
from lmstrix.sizes import show_bytes
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.values import Completion, TestReport

FIXED = 200 * 2**20
PER_TOKEN = HEADROOM // (16_384 - FIRST_CONTEXT)


@pytest.fixture
def models() -> Sequence[FakeModel]:
    """A model that declares twice what it can hold in the demo's budget."""
    return (
        FakeModel(
            key="gemma",
            declared=32_768,
            fixed_bytes=FIXED,
            bytes_per_token=PER_TOKEN,
            chat_template=False,
            reply=answering(" Paris."),
        ),
        FakeModel(key="a-model-of-somebody-else"),
    )


@pytest.fixture
def backend(models: Sequence[FakeModel]) -> FakeBackend:
    """A runtime with more memory than the demo allows."""
    return FakeBackend(*models, budget_bytes=8 << 30)


@pytest.fixture(autouse=True)
def assembled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the package say that the fake's file is the one it assembled."""
    monkeypatch.setattr(packaged, "assemble_demo_model", lambda _: Path("/models/gemma.gguf"))


def facts(text: str) -> Mapping[str, str]:
    """Return the facts printed, by name."""
    lines = [line.split("  ", 1) for line in text.splitlines() if "  " in line]
    return {name: value.strip() for name, value in lines}


def test_demo_shows_the_limits_why_the_search_stopped_and_what_the_model_says(run: Run) -> None:
    """A newcomer sees in a minute what the program is for."""
    result = run("demo")

    found = facts(result.stdout)
    assert result.exit_code == 0
    assert (found["declared"], found["refuted"]) == ("32,768", "-")
    assert 12_288 < int(found["usable"].replace(",", "")) <= 16_384
    assert found["memory per token"] == show_bytes(PER_TOKEN)
    assert found["usable"] in found["stopped because"]
    assert result.stdout.endswith(f"\n{DEMO_PROMPT} Paris.\n")


def test_demo_says_what_failed_only_if_something_did(run: Run) -> None:
    """A careful search need not fail; where it did, the engine's own words are worth reading."""
    failed = facts(run("demo", "--memory-budget", "1MiB").stdout)

    assert failed["what failed"] == "loading 4,096 tokens: out-of-memory"
    assert failed["the engine said"] == "out-of-memory as told"
    assert "what failed" not in facts(run("demo").stdout)


def test_demo_asks_the_model_at_the_limit_that_was_found(run: Run, strix: Recorder) -> None:
    """The number is no decoration: it is the context that the model then runs in."""
    found = facts(run("demo").stdout)

    assert strix.asked["in_ctx"] == int(found["usable"].replace(",", ""))
    assert strix.asked["budget_bytes"] == FIXED + FIRST_CONTEXT * PER_TOKEN + HEADROOM
    assert strix.asked["model"] == "gemma"


def test_demo_with_json_is_one_document(run: Run) -> None:
    """CI runs the demo, and reads what it found."""
    found = json.loads(run("demo", "--json").stdout)

    assert set(found) == {"report", "completion"}
    report = TestReport.model_validate_json(json.dumps(found["report"]))
    completion = Completion.model_validate_json(json.dumps(found["completion"]))
    assert (completion.text, completion.effective_context) == (" Paris.", report.limits.usable)


def test_budget_that_nothing_fits_into_exits_1_without_a_completion(run: Run) -> None:
    """There is no limit to run at; the report still says why."""
    result = run("demo", "--memory-budget", "1MiB", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["completion"] is None
    assert json.loads(result.stdout)["report"]["status"] == "failed"


def test_other_budget_finds_another_limit(run: Run) -> None:
    """The budget binds: with more memory the model holds all that it declares."""
    assert facts(run("demo", "--memory-budget", "1GiB").stdout)["usable"] == "32,768"


def test_demo_looks_at_its_own_folder_beside_the_users(own_home: Path) -> None:
    """The demo's model is found, and the user's models stay known."""
    chosen = Settings.read(backend="lmstudio", models_dir="/theirs")

    adapted = on_llamacpp(chosen)

    assert adapted.backend == "llamacpp"
    assert adapted.models_dirs == (Path("/theirs").absolute(), own_home / "models")
    assert on_llamacpp(adapted) == adapted
