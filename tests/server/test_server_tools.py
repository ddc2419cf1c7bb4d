"""The tools as a client sees them, in both eras of the protocol."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import anyio
import pytest
from anyio import to_thread
from mcp import Client, MCPError
from mcp.types import TextResourceContents

from lmstrix.app import LMStrix
from lmstrix.server.building import build_server
from lmstrix.server.jobs import Jobs
from lmstrix.testing import MemoryRegistry
from lmstrix.values import ModelList
from server.asking import content_of, text_of
from server.gate import PATIENCE_S, GatedBackend

pytestmark = pytest.mark.anyio

TEST: Final = {"model": "gemma", "context": 4_096, "proof": "load"}


@pytest.fixture(params=["auto", "legacy"])
async def client(
    request: pytest.FixtureRequest, strix: LMStrix, jobs: Jobs
) -> AsyncIterator[Client]:
    """A client of either era, connected."""
    async with Client(build_server(strix, jobs), mode=request.param) as connected:
        yield connected


async def until_loading(backend: GatedBackend) -> None:
    """Wait until a model is being loaded."""
    assert await to_thread.run_sync(backend.loading.wait, PATIENCE_S)


async def test_models_are_listed_in_short_form(client: Client) -> None:
    """An agent chooses by five facts; the rest would only fill its context."""
    page = content_of(await client.call_tool("list_models", {}))

    assert page["total"] == 2
    assert page["next_offset"] is None
    assert page["models"][0] == {
        "key": "gemma-3-270m",
        "declared": 32_768,
        "usable": None,
        "status": "untested",
        "loaded_context": None,
    }


async def test_everything_known_of_a_model_is_listed_when_asked_for(client: Client) -> None:
    """The long form is the library's own value, unchanged."""
    page = content_of(await client.call_tool("list_models", {"query": "qwen", "detail": True}))

    [model] = page["models"]
    assert (model["key"], model["declared_context"], model["format"]) == ("qwen3-8b", 8_192, "gguf")


async def test_pages_lead_on_to_each_other(client: Client) -> None:
    """A host cuts long results: a page must say where the next one begins."""
    first = content_of(await client.call_tool("list_models", {"limit": 1, "sort": "idd"}))
    second = content_of(
        await client.call_tool(
            "list_models", {"limit": 1, "sort": "idd", "offset": first["next_offset"]}
        )
    )

    assert [page["models"][0]["key"] for page in (first, second)] == ["qwen3-8b", "gemma-3-270m"]
    assert (first["total"], second["next_offset"]) == (2, None)


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [
        ({"query": "270m gemma"}, ["gemma-3-270m"]),
        ({"tested": "yes"}, ["gemma-3-270m"]),
        ({"tested": "no"}, ["qwen3-8b"]),
        ({"min_context": 8_192}, ["qwen3-8b"]),
        ({"sort": "declared"}, ["qwen3-8b", "gemma-3-270m"]),
    ],
)
async def test_list_is_narrowed_as_asked(
    client: Client, arguments: dict[str, Any], keys: list[str]
) -> None:
    """A machine has a hundred models: an agent asks for those that will do."""
    content_of(await client.call_tool("test_context", dict(TEST)))

    page = content_of(await client.call_tool("list_models", arguments))

    assert [model["key"] for model in page["models"]] == keys


async def test_models_are_looked_for_again_when_asked(
    client: Client, backend: GatedBackend
) -> None:
    """A model that was downloaded a minute ago must not need another server."""
    content_of(await client.call_tool("list_models", {}))
    content_of(await client.call_tool("list_models", {}))
    assert backend.listed == 1

    content_of(await client.call_tool("list_models", {"refresh": True}))
    assert backend.listed == 2


async def test_client_can_leave_while_models_are_looked_for(
    strix: LMStrix, backend: GatedBackend
) -> None:
    """A thread that waits for a runtime must not hold the server: hosts kill after two seconds."""
    backend.listing_gate.clear()
    async with Client(build_server(strix)) as client, anyio.create_task_group() as calls:
        for call in (
            partial(client.call_tool, "list_models", {}),
            partial(client.read_resource, "lmstrix://models"),
        ):
            calls.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        calls.cancel_scope.cancel()

    assert backend.listed == 0


async def test_loaded_model_shows_its_context(client: Client, backend: GatedBackend) -> None:
    """What is loaded already costs no load: that is worth knowing when choosing."""
    backend.preload("qwen3-8b", 2_048)
    backend.preload("qwen3-8b", 4_096)

    page = content_of(await client.call_tool("list_models", {"query": "qwen"}))

    assert page["models"][0]["loaded_context"] == 4_096


async def test_test_that_ends_in_time_is_completed_in_one_call(
    client: Client, registry: MemoryRegistry
) -> None:
    """Following a job costs an agent a turn; a short test must not."""
    view = content_of(await client.call_tool("test_context", dict(TEST)))

    assert (view["status"], view["kind"], view["error"]) == ("completed", "test_context", None)
    assert view["result"]["model"] == "gemma-3-270m"
    assert view["result"]["limits"]["loadable"] == 4_096
    assert [probe.requested for probe in registry.probes()] == [4_096]


async def test_answer_is_a_job_view_with_a_completion(client: Client) -> None:
    """The same value as the library's, so that nobody learns it twice."""
    arguments = {"model": "qwen", "prompt": "2+2=", "in_ctx": 2_048, "out_ctx": 8}
    view = content_of(await client.call_tool("infer", arguments))

    assert (view["status"], view["kind"]) == ("completed", "infer")
    assert view["result"]["model"] == "qwen3-8b"
    assert view["result"]["effective_context"] == 2_048
    assert 0 < view["result"]["completion_tokens"] <= 8


async def test_what_was_said_of_an_answer_reaches_the_model(
    client: Client, backend: GatedBackend
) -> None:
    """An argument that is accepted and ignored would be a lie."""
    arguments = {
        "model": "qwen",
        "prompt": "2+2=",
        "system": "Count.",
        "temperature": 0.5,
        "force_reload": True,
    }
    content_of(await client.call_tool("infer", arguments))
    content_of(await client.call_tool("infer", arguments | {"temperature": -1}))

    asked = [call for call in backend.calls if call.name == "complete"]
    assert [call.prompt and (call.prompt.text, call.prompt.system) for call in asked] == [
        ("2+2=", "Count."),
        ("2+2=", "Count."),
    ]
    assert [call.sampling and call.sampling.temperature for call in asked] == [0.5, None]
    assert len([call for call in backend.calls if call.name == "load"]) == 2


async def test_threshold_caps_the_first_probes(client: Client, registry: MemoryRegistry) -> None:
    """On a machine where nothing is known, the user's cap is what keeps it from freezing."""
    arguments = {"model": "gemma", "proof": "load", "threshold": 2_048}
    content_of(await client.call_tool("test_context", arguments))

    assert registry.probes()[0].requested <= 2_048


async def test_size_that_was_interrupted_is_tried_again_only_by_force(
    client: Client, strix: LMStrix, registry: MemoryRegistry
) -> None:
    """A size that took the machine down must not do so twice unasked."""
    content_of(await client.call_tool("test_context", dict(TEST)))
    [probe] = registry.probes()
    registry.owner = "a process that froze"
    registry.open_probe(
        "fake", probe.model_copy(update={"id": None, "outcome": None, "ended_at": None})
    )
    registry.dead = {registry.owner}
    registry.sweep()

    refused = await client.call_tool("test_context", dict(TEST))
    forced = content_of(await client.call_tool("test_context", TEST | {"force": True}))

    assert refused.is_error
    assert "force=true" in text_of(refused)
    assert forced["status"] == "completed"


async def test_test_that_lasts_answers_with_a_running_job(
    client: Client, backend: GatedBackend
) -> None:
    """Hosts give up on a call after a minute, and a test may take an hour."""
    backend.gate.clear()

    started = content_of(await client.call_tool("test_context", TEST | {"wait_s": 0}))
    await until_loading(backend)
    running = content_of(
        await client.call_tool("job", {"job_id": started["job_id"], "wait_s": 0.1})
    )
    backend.gate.set()
    ended = content_of(await client.call_tool("job", {"job_id": started["job_id"]}))

    assert started["status"] in {"queued", "running"}
    assert (running["status"], running["result"]) == ("running", None)
    assert (ended["status"], ended["result"]["status"]) == ("completed", "tested")
    assert started["job_id"] == running["job_id"] == ended["job_id"]


async def test_progress_rises_strictly_while_nothing_moves(
    client: Client, backend: GatedBackend
) -> None:
    """Hosts keep a call alive by its progress, and the protocol forbids equal numbers."""
    backend.gate.clear()
    told: list[float] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)
        if len(told) == 3:
            backend.gate.set()

    content_of(await client.call_tool("test_context", dict(TEST), progress_callback=note))

    assert len(told) >= 3
    assert told == sorted(set(told))


async def test_second_job_waits_for_its_turn(client: Client, backend: GatedBackend) -> None:
    """One engine at a time, and a host that calls tools in parallel is told so."""
    backend.gate.clear()
    content_of(await client.call_tool("test_context", TEST | {"wait_s": 0}))
    second = content_of(
        await client.call_tool("infer", {"model": "qwen", "prompt": "hello", "wait_s": 0})
    )
    assert second["status"] == "queued"

    backend.gate.set()
    ended = content_of(await client.call_tool("job", {}))
    assert (ended["job_id"], ended["status"]) == (second["job_id"], "completed")


async def test_call_that_times_out_leaves_its_job(client: Client, backend: GatedBackend) -> None:
    """A host's timeout is not its user's wish to stop: the work would be lost."""
    backend.gate.clear()
    with pytest.raises(MCPError):
        await client.call_tool("test_context", dict(TEST), read_timeout_seconds=0.5)

    backend.gate.set()
    view = content_of(await client.call_tool("job", {}))
    assert (view["kind"], view["status"]) == ("test_context", "completed")


async def test_call_that_is_cancelled_leaves_its_job(client: Client, backend: GatedBackend) -> None:
    """Cancelling looks the same as a timeout; stopping the work is a call of its own."""
    backend.gate.clear()
    async with anyio.create_task_group() as calls:
        calls.start_soon(client.call_tool, "test_context", dict(TEST))
        await until_loading(backend)
        calls.cancel_scope.cancel()

    backend.gate.set()
    view = content_of(await client.call_tool("job", {}))
    assert (view["kind"], view["status"]) == ("test_context", "completed")


async def test_cancelled_job_stops_and_leaves_nothing_loaded(
    client: Client, backend: GatedBackend, registry: MemoryRegistry
) -> None:
    """The engine is told to stop where it is, and cleans up: the journal has no open row."""
    backend.gate.clear()
    started = content_of(await client.call_tool("test_context", TEST | {"wait_s": 0}))
    await until_loading(backend)

    stopped = content_of(
        await client.call_tool("job", {"job_id": started["job_id"], "action": "cancel"})
    )

    assert (stopped["status"], stopped["result"]) == ("cancelled", None)
    assert backend.loaded() == []
    assert all(probe.outcome is not None for probe in registry.probes())


async def test_jobs_are_listed_newest_first(client: Client) -> None:
    """After a lost answer, the list is how an agent finds its work again."""
    empty = content_of(await client.call_tool("job", {"action": "list"}))
    first = content_of(await client.call_tool("test_context", dict(TEST)))
    second = content_of(await client.call_tool("infer", {"model": "qwen", "prompt": "hello"}))
    listed = content_of(await client.call_tool("job", {"action": "list"}))

    assert empty["result"] == {"jobs": []}
    assert [job["job_id"] for job in listed["result"]["jobs"]] == [
        second["job_id"],
        first["job_id"],
    ]
    assert {job["status"] for job in listed["result"]["jobs"]} == {"completed"}


async def test_misspelt_model_is_refused_with_the_nearest_keys(client: Client) -> None:
    """The calling model reads the hint and corrects itself; no job is left behind."""
    result = await client.call_tool("test_context", {"model": "qwen3-8x"})

    assert result.is_error
    assert "no model matches `qwen3-8x`\nhint: did you mean `qwen3-8b`" in text_of(result)
    assert content_of(await client.call_tool("job", {"action": "list"}))["total"] == 0


async def test_failed_job_is_an_error_that_still_shows_its_view(
    client: Client, backend: GatedBackend
) -> None:
    """A model must not take a failure for an answer, and a program wants the fields."""
    content_of(await client.call_tool("list_models", {}))
    backend.reachable = False

    result = await client.call_tool("infer", {"model": "qwen", "prompt": "hello"})

    assert result.is_error
    assert text_of(result) == "the fake runtime is not there\nhint: start it"
    assert result.structured_content is not None
    assert result.structured_content["status"] == "failed"
    assert result.structured_content["error"] == text_of(result)


async def test_runtime_that_is_gone_is_told_with_its_remedy(
    client: Client, backend: GatedBackend
) -> None:
    """Every tool translates our errors, the quick ones included."""
    backend.reachable = False

    result = await client.call_tool("list_models", {"refresh": True})

    assert result.is_error
    assert text_of(result).endswith("the fake runtime is not there\nhint: start it")


async def test_unknown_job_is_refused_with_the_known_ones(client: Client) -> None:
    """Ids are opaque: a model that garbled one needs to see the right ones."""
    view = content_of(await client.call_tool("infer", {"model": "qwen", "prompt": "hello"}))

    result = await client.call_tool("job", {"job_id": "infer-0"})

    assert result.is_error
    assert view["job_id"] in text_of(result)


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("list_models", {"limt": 5}, "no argument `limt`\nhint: did you mean `limit`?"),
        ("infer", {"model": "qwen", "zzz": 1}, "no argument `zzz`\nhint: it takes `model`, "),
        ("infer", {}, "argument `model` of `infer`: Field required"),
        ("test_context", {"model": "qwen", "proof": "hope"}, "argument `proof` of `test_context`"),
        ("test_context", {"model": "qwen", "wait_s": -1}, "argument `wait_s` of `test_context`"),
        ("list_models", {"sort": "colour"}, "unknown sort key: `colour`\nhint: it is one of `id`"),
    ],
)
async def test_wrong_argument_is_refused_by_name(
    client: Client, tool: str, arguments: dict[str, Any], problem: str
) -> None:
    """The SDK would drop a misspelt argument without a word, and do something else."""
    result = await client.call_tool(tool, arguments)

    assert result.is_error
    assert problem in text_of(result)
    assert "pydantic" not in text_of(result)


async def test_models_can_be_read_as_a_resource(client: Client) -> None:
    """What a host shows its user is what `list_models` tells the model, in full."""
    page = content_of(await client.call_tool("list_models", {"detail": True}))
    [content] = (await client.read_resource("lmstrix://models")).contents

    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    assert ModelList.model_validate_json(content.text) == ModelList.model_validate(page)


async def test_resource_that_cannot_be_read_says_why(client: Client, backend: GatedBackend) -> None:
    """A resource has no error result: the protocol's own error carries the text."""
    backend.reachable = False

    with pytest.raises(MCPError, match="the fake runtime is not there"):
        await client.read_resource("lmstrix://models")
