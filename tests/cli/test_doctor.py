"""`doctor`: what is there, what is missing, what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.conftest import Recorder, Run
from lmstrix.cli import cli
from lmstrix.registry import FILE_NAME
from lmstrix.testing import FakeBackend, MemoryRegistry
from lmstrix.values import Diagnosis, LoadConfig, Probe, Proof


def checks(text: str) -> dict[str, Any]:
    """Return the checks of a JSON document, by name."""
    return {check["name"]: check for check in json.loads(text)["checks"]}


def test_healthy_machine_is_told_so(run: Run) -> None:
    """Everything that was looked at is named, so that silence means nothing."""
    result = run("doctor", "--json")

    found = checks(result.stdout)
    assert result.exit_code == 0
    assert Diagnosis.model_validate_json(result.stdout).healthy
    assert found["models"]["detail"] == "2 found by fake"
    assert found["registry"]["detail"] == "sound, 0 probes recorded"
    assert {"lmstrix", "llama.cpp", "memory", "interrupted probe"} <= set(found)


def test_settings_are_shown_with_where_they_came_from(
    monkeypatch: pytest.MonkeyPatch, own_home: Path
) -> None:
    """Most surprises are a variable that was forgotten."""
    monkeypatch.setenv("LMSTRIX_MEMORY_BUDGET", "3GiB")

    found = checks(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)

    assert found["settings.home"]["detail"] == f"{own_home} (environment)"
    assert found["settings.memory_budget"]["detail"] == "3.0 GiB (environment)"
    assert found["settings.backend"]["detail"] == "auto (default)"


@pytest.mark.parametrize("args", [["doctor"], ["doctor", "--json"]])
def test_token_is_never_shown(monkeypatch: pytest.MonkeyPatch, args: list[str]) -> None:
    """The output of `doctor` is made to be pasted into a report."""
    monkeypatch.setenv("LM_API_TOKEN", "sesame")

    result = CliRunner().invoke(cli, args)

    assert "set (environment)" in result.stdout
    assert "sesame" not in result.stdout + result.stderr


def test_setting_that_cannot_be_used_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor is called when nothing else works."""
    monkeypatch.setenv("LMSTRIX_LOG", "shouting")

    result = CliRunner().invoke(cli, ["doctor", "--json"])

    assert result.exit_code == 0
    assert checks(result.stdout)["settings"]["ok"] is False
    assert checks(result.stdout)["settings"]["detail"] == "LMSTRIX_LOG is unknown: `shouting`"


def test_damaged_registry_is_a_finding_and_is_left_alone(own_home: Path) -> None:
    """What was measured may still be saved by hand."""
    own_home.mkdir()
    (own_home / FILE_NAME).write_text("a poem", encoding="utf-8")

    found = checks(CliRunner().invoke(cli, ["doctor", "--json"]).stdout)

    assert found["registry"]["ok"] is False
    assert found["registry"]["hint"]
    assert (own_home / FILE_NAME).read_text(encoding="utf-8") == "a poem"


class Inconsistent(MemoryRegistry):
    """A registry that can be verified, and should be."""

    def verify(self) -> list[str]:
        """Return what is wrong."""
        return ["page 3 is missing"]


def test_registry_that_contradicts_itself_is_a_finding(run: Run, strix: Recorder) -> None:
    """A registry that opens is not yet a sound one."""
    strix._registry = Inconsistent()

    assert checks(run("doctor", "--json").stdout)["registry"]["detail"] == "page 3 is missing"


def test_runtime_that_is_gone_is_a_finding(run: Run, backend: FakeBackend) -> None:
    """The rest is still worth knowing."""
    backend.reachable = False

    found = checks(run("doctor", "--json").stdout)

    assert found["models"] == {
        "name": "models",
        "ok": False,
        "detail": "the fake runtime is not there",
        "hint": "start it",
    }


def test_probe_that_a_process_did_not_outlive_is_a_finding_until_it_is_settled(
    run: Run, strix: Recorder, backend: FakeBackend
) -> None:
    """It keeps larger contexts from being tried, so the user should know, and know the remedy."""
    registry = MemoryRegistry()
    strix._registry = registry
    strix.scan()
    model = strix.resolve("tiny")
    opened = Probe(
        model="tiny",
        requested=8_192,
        proof=Proof.LOAD,
        fingerprint=backend.fingerprint(model, LoadConfig()),
        started_at=backend.clock.now(),
    )
    registry.open_probe("fake", opened)
    registry.dead.add(registry.owner)
    registry.sweep()
    registry.dead.clear()

    found = checks(run("doctor", "--json").stdout)["interrupted probe"]
    assert found["detail"] == "tiny at 8,192 tokens; nothing that large is tried by itself"
    assert found["hint"] == "`lmstrix test tiny --force` tries it again"
    assert "WRONG" in run("doctor").stdout

    run("test", "tiny", "--force")
    assert checks(run("doctor", "--json").stdout)["interrupted probe"]["ok"] is True
