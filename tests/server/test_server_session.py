"""The installed server and a real model, driven by the official client over real stdio."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from mcp import Client, StdioServerParameters
from mcp.types import TextResourceContents

from lmstrix.values import Completion, ModelList, ReportList, TestReport
from server.endings import ENDINGS, IN_TIME_S, Ending
from server.wire import SCRIPT, Wire

EXAMPLE = Path(__file__).parents[2] / "mcp.json.example"
CONTEXT = 512
"""Small enough to be filled in seconds."""


@pytest.fixture
def environment(
    gemma_file: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """What points a server at the real model and at a home of its own."""
    chosen = {
        "LMSTRIX_BACKEND": "llamacpp",
        "LMSTRIX_HOME": str(own_home),
        "LMSTRIX_MODELS_DIR": str(gemma_file.parent),
    }
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    return chosen


@pytest.fixture
def wire(environment: dict[str, str], tmp_path: Path) -> Iterator[Wire]:
    """The installed server over the real model, running."""
    with Wire(tmp_path / "stderr.log") as running:
        yield running


@pytest.mark.anyio
@pytest.mark.real
async def test_agent_finds_a_limit_and_works_inside_it(environment: dict[str, str]) -> None:
    """The whole way of an agent that knows nothing: list, test, follow, list again, infer."""
    server = StdioServerParameters(command=str(SCRIPT), env=environment)
    async with Client(server) as client:

        async def call(tool: str, **arguments: object) -> dict[str, Any]:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, result.content
            return cast("dict[str, Any]", result.structured_content)

        [untested] = (await call("list_models"))["models"]
        job = await call("test_context", model="gemma", context=CONTEXT, wait_s=0.1)
        assert (job["status"], job["result"]) == ("running", None)
        while job["status"] == "running":
            job = await call("job", job_id=job["job_id"], wait_s=10)
        [tested] = (await call("list_models"))["models"]
        arguments = {"in_ctx": tested["usable"], "out_ctx": 4, "temperature": 0}
        answer = await call(
            "infer", model=tested["key"], prompt="The capital of France", **arguments
        )
        [content] = (await client.read_resource("lmstrix://models")).contents

    assert (untested["key"], untested["usable"]) == ("gemma-3-270m", None)
    report = TestReport.model_validate(job["result"])
    assert report.limits.usable == tested["usable"] == CONTEXT
    completion = Completion.model_validate(answer["result"])
    assert (completion.effective_context, completion.completion_tokens) == (CONTEXT, 4)
    assert isinstance(content, TextResourceContents)
    [model] = ModelList.model_validate_json(content.text).models
    assert model.limits == report.limits


@pytest.mark.anyio
@pytest.mark.real
async def test_agent_asks_what_a_batch_costs_and_then_has_it_done(
    environment: dict[str, str], own_home: Path
) -> None:
    """Forecast and reports come through the real protocol, whose client checks their schema."""
    server = StdioServerParameters(command=str(SCRIPT), env=environment)
    async with Client(server) as client:

        async def call(**arguments: object) -> ReportList:
            result = await client.call_tool("test_all", {"proof": "load"} | arguments)
            assert not result.is_error, result.content
            view = cast("dict[str, Any]", result.structured_content)
            assert view["status"] == "completed"
            return ReportList.model_validate(view["result"])

        forecast = await call(dry_run=True)
        before = outcomes(own_home)
        tested = await call()
        again = await call()

    [planned], [report] = forecast.reports, tested.reports
    assert (planned.model, planned.probes, before) == ("gemma-3-270m", (), [])
    assert planned.forecast is not None
    assert 0 < len(report.probes) == len(outcomes(own_home)) <= planned.forecast.probes
    assert report.limits.loadable == 32_768
    assert (again.reports, [skipped.model for skipped in again.skipped]) == ((), ["gemma-3-270m"])


@pytest.mark.real
@pytest.mark.parametrize(("ending", "code"), ENDINGS)
def test_server_leaves_in_time_while_a_probe_runs(
    wire: Wire, own_home: Path, ending: Ending, code: int
) -> None:
    """A killed server would leave gigabytes loaded, and a probe that reads as a crash."""
    wire.greet()
    job = wire.call("test_context", model="gemma", context=32_768, wait_s=0)
    while "read" not in job["message"]:
        assert job["status"] in {"queued", "running"}, job
        job = wire.call("job", wait_s=0.2)
    children = wire.children()

    ending(wire)

    assert wire.process.wait(IN_TIME_S) == code
    assert children
    assert not [child for child in children if child.is_running()]
    assert outcomes(own_home) == ["unknown"]
    assert wire.rest() == b""


@pytest.mark.real
def test_every_line_on_stdout_is_a_message_while_an_engine_talks(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """llama.cpp prints hundreds of lines as it loads: none may reach the host."""
    wire.greet()
    answer = wire.call("infer", model="gemma", prompt="2+2=", in_ctx=CONTEXT, out_ctx=2)
    wire.leave()

    assert answer["status"] == "completed"
    assert wire.rest() == b""
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in wire.lines)


@pytest.mark.anyio
async def test_example_configuration_starts_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users copy the file as it is, into every host there is."""
    [(name, entry)] = json.loads(EXAMPLE.read_text(encoding="utf-8"))["mcpServers"].items()
    monkeypatch.setenv("PATH", str(SCRIPT.parent), prepend=os.pathsep)

    async with Client(StdioServerParameters(**entry)) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]

    assert name == "lmstrix"
    assert tools == ["list_models", "test_context", "test_all", "infer", "job"]


def outcomes(home: Path) -> list[str | None]:
    """Return the outcomes in the journal as they stand in the file, null for an open row."""
    with closing(sqlite3.connect(home / "registry.sqlite3")) as db:
        return [outcome for (outcome,) in db.execute("SELECT outcome FROM probes ORDER BY id")]
