"""What the server says of itself before anything is called: its descriptions are its interface."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp import Client
from mcp.types import Tool

from lmstrix import __version__
from lmstrix.app import LMStrix
from lmstrix.server.building import build_server

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, strix: LMStrix) -> AsyncIterator[Client]:
    """A client of either era, connected."""
    async with Client(build_server(strix), mode=request.param) as connected:
        yield connected


@pytest.fixture
async def tools(client: Client) -> dict[str, Tool]:
    """The tools by name."""
    return {tool.name: tool for tool in (await client.list_tools()).tools}


async def test_server_introduces_itself(client: Client) -> None:
    """A host shows name and version; the model reads the instructions."""
    assert client.server_info is not None
    assert client.server_info.name == "lmstrix"
    assert client.server_info.title == "LMStrix"
    assert client.server_info.version == __version__
    assert 3 <= len(re.findall(r"\.(?:\s|$)", client.instructions or "")) <= 5


async def test_tools_have_the_arguments_of_the_contract(tools: dict[str, Tool]) -> None:
    """Agents rely on these names; an argument that does nothing is not offered."""
    arguments = {name: list(tool.input_schema["properties"]) for name, tool in tools.items()}

    assert arguments == {
        "list_models": [
            "query",
            "tested",
            "min_context",
            "sort",
            "limit",
            "offset",
            "detail",
            "refresh",
        ],
        "test_context": [
            "model",
            "context",
            "proof",
            "strategy",
            "threshold",
            "force",
            "unload_others",
            "dry_run",
            "wait_s",
        ],
        "test_all": [
            "query",
            "proof",
            "threshold",
            "retest",
            "unload_others",
            "dry_run",
            "wait_s",
        ],
        "infer": [
            "model",
            "prompt",
            "system",
            "in_ctx",
            "out_ctx",
            "temperature",
            "force_reload",
            "wait_s",
        ],
        "job": ["job_id", "action", "wait_s"],
    }


async def test_defaults_are_those_of_the_contract(tools: dict[str, Tool]) -> None:
    """What a model leaves out is decided here, for every host alike."""
    assert _defaults(tools["test_context"]) == {
        "context": 0,
        "proof": "fill",
        "strategy": "certify",
        "threshold": 102_400,
        "force": False,
        "unload_others": False,
        "dry_run": False,
        "wait_s": 45,
    }
    assert _defaults(tools["test_all"]) == {
        "query": "",
        "proof": "answer",
        "threshold": 102_400,
        "retest": False,
        "unload_others": False,
        "dry_run": False,
        "wait_s": 45,
    }
    assert _defaults(tools["list_models"])["limit"] == 50
    assert _defaults(tools["infer"])["temperature"] == -1
    assert _defaults(tools["job"]) == {"job_id": "", "action": "wait", "wait_s": 45}


async def test_every_tool_says_what_a_model_must_know(tools: dict[str, Tool]) -> None:
    """Unset hints mean destructive and open to the world; an undescribed argument is guessed at."""
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert "\n" not in tool.description
        assert tool.annotations is not None
        assert None not in tool.annotations.model_dump(exclude={"title"}).values()
        assert all(argument.get("description") for argument in _properties(tool).values())
        assert tool.output_schema is not None
        assert all(field.get("description") for field in tool.output_schema["properties"].values())


@pytest.mark.parametrize("name", ["test_context", "test_all"])
async def test_tests_say_what_they_may_do_to_the_user(tools: dict[str, Tool], name: str) -> None:
    """A model that knows the cost asks first; one that knows of resuming dares to stop."""
    tool = tools[name]

    assert "a model that the user runs may have to make room" in (tool.description or "")
    assert "resume" in (tool.description or "")
    assert "Ask the user first" in _properties(tool)["unload_others"]["description"]
    assert _properties(tool)["proof"]["enum"] == ["load", "answer", "fill", "recall"]


async def test_no_argument_is_a_union_with_null(tools: dict[str, Tool]) -> None:
    """Some hosts mishandle `anyOf`; every argument has a plain type and a plain default."""
    assert not [
        (tool.name, name)
        for tool in tools.values()
        for name, argument in _properties(tool).items()
        if "anyOf" in argument
    ]


async def test_only_listing_is_read_only(tools: dict[str, Tool]) -> None:
    """A host may run read-only tools unasked: none of these may load a model."""
    reading = [name for name, tool in tools.items() if _hint(tool, "read_only_hint")]

    assert reading == ["list_models"]
    assert not any(_hint(tool, "destructive_hint") for tool in tools.values())
    assert not any(_hint(tool, "open_world_hint") for tool in tools.values())


async def test_models_are_offered_as_a_resource(client: Client) -> None:
    """A host offers its user what is listed here, with title and kind."""
    [resource] = (await client.list_resources()).resources

    assert str(resource.uri) == "lmstrix://models"
    assert resource.mime_type == "application/json"
    assert resource.title
    assert resource.description


def _properties(tool: Tool) -> dict[str, dict[str, Any]]:
    properties: dict[str, dict[str, Any]] = tool.input_schema["properties"]
    return properties


def _defaults(tool: Tool) -> dict[str, Any]:
    return {
        name: argument["default"]
        for name, argument in _properties(tool).items()
        if "default" in argument
    }


def _hint(tool: Tool, name: str) -> bool:
    return bool(getattr(tool.annotations, name))
