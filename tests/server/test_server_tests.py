"""Testing one model or all of them, as a client asks for it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from anyio import to_thread
from mcp import Client

from lmstrix.app import LMStrix
from lmstrix.server.building import build_server
from lmstrix.server.jobs import Jobs
from lmstrix.server.views import LONGEST
from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry
from lmstrix.values import Outcome, ReportList, TestReport
from server.asking import content_of, text_of
from server.gate import PATIENCE_S, GatedBackend

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["auto", "legacy"])
async def client(
    request: pytest.FixtureRequest, strix: LMStrix, jobs: Jobs
) -> AsyncIterator[Client]:
    """A client of either era, connected."""
    async with Client(build_server(strix, jobs), mode=request.param) as connected:
        yield connected


async def ask(client: Client, tool: str, **arguments: object) -> dict[str, Any]:
    """Call a tool that does what it is asked for; return its structured content."""
    return content_of(await client.call_tool(tool, arguments))


async def until_loading(backend: GatedBackend) -> None:
    """Wait until a model is being loaded, and the gate holds it."""
    assert await to_thread.run_sync(backend.loading.wait, PATIENCE_S)


def loads(backend: FakeBackend) -> list[str]:
    """Return the keys of the models that were loaded, in order."""
    calls = [call for call in backend.calls if call.name == "load"]
    return [call.identifier.split(":")[0] for call in calls]


async def test_every_model_is_tested_and_reported(client: Client) -> None:
    """One call answers for the whole machine what an agent would ask model by model."""
    view = await ask(client, "test_all", proof="load")

    result = ReportList.model_validate(view["result"])
    assert (view["kind"], view["status"]) == ("test_all", "completed")
    assert {report.model: report.limits.loadable for report in result.reports} == {
        "gemma-3-270m": 32_768,
        "qwen3-8b": 8_192,
    }
    assert (view["done"], view["total"]) == (2, 2)


async def test_words_choose_the_models_of_a_batch(client: Client, backend: GatedBackend) -> None:
    """A machine has a hundred models: nobody waits for all of them."""
    view = await ask(client, "test_all", proof="load", query="qwen")

    assert [report["model"] for report in view["result"]["reports"]] == ["qwen3-8b"]
    assert set(loads(backend)) == {"qwen3-8b"}


async def test_what_is_known_is_tested_again_only_when_asked(
    client: Client, backend: GatedBackend
) -> None:
    """Repeating a call must cost nothing; measuring afresh is a wish of its own."""
    await ask(client, "test_all", proof="load")
    first = len(loads(backend))
    again = await ask(client, "test_all", proof="load")
    second = len(loads(backend))
    afresh = await ask(client, "test_all", proof="load", retest=True)

    assert (again["result"]["reports"], again["message"]) == ([], "done")
    assert [skipped["model"] for skipped in again["result"]["skipped"]] == [
        "gemma-3-270m",
        "qwen3-8b",
    ]
    assert all("tested before" in skipped["reason"] for skipped in again["result"]["skipped"])
    assert first == second < len(loads(backend))
    assert len(afresh["result"]["reports"]) == 2


async def test_batch_says_which_model_and_which_probe_runs(
    client: Client, backend: GatedBackend
) -> None:
    """A batch lasts for hours: its one line of progress must tell where it is."""
    backend.gate.clear()
    started = await ask(client, "test_all", wait_s=0)
    await until_loading(backend)
    view = await ask(client, "job", job_id=started["job_id"], wait_s=0.1)

    assert (view["status"], view["done"], view["total"]) == ("running", 0, 2)
    assert view["message"].startswith("gemma-3-270m: 4,096 tokens: ")


async def test_dry_run_of_one_model_loads_nothing(client: Client, backend: GatedBackend) -> None:
    """Whoever asks what it costs has not agreed to pay."""
    view = await ask(client, "test_context", model="gemma", dry_run=True)

    report = TestReport.model_validate(view["result"])
    assert view["status"] == "completed"
    assert report.forecast is not None
    assert report.forecast.probes > 1
    assert report.probes == ()
    assert backend.calls == []


async def test_dry_run_of_all_models_loads_nothing(client: Client, backend: GatedBackend) -> None:
    """The forecast comes for each model, so that a caller can leave out the dear ones."""
    view = await ask(client, "test_all", dry_run=True)

    result = ReportList.model_validate(view["result"])
    assert view["status"] == "completed"
    assert [report.forecast is not None for report in result.reports] == [True, True]
    assert [report.probes for report in result.reports] == [(), ()]
    assert backend.calls == []


@pytest.mark.parametrize(("strategy", "second"), [("climb", 6_144), ("bisect", 19_456)])
async def test_strategy_is_the_callers_choice(
    client: Client, registry: MemoryRegistry, strategy: str, second: int
) -> None:
    """An argument accepted and ignored would be a lie: the second probe tells them apart."""
    await ask(client, "test_context", model="gemma", proof="load", strategy=strategy)

    assert [probe.requested for probe in registry.probes()][:2] == [4_096, second]


async def test_unknown_strategy_is_refused_before_its_turn_comes(
    client: Client, backend: GatedBackend
) -> None:
    """Behind a job of an hour, a misspelt word would be told an hour later."""
    backend.gate.clear()
    await ask(client, "test_context", model="gemma", wait_s=0)
    result = await client.call_tool("test_context", {"model": "gemma", "strategy": "guess"})
    jobs = await ask(client, "job", action="list")

    assert result.is_error
    assert "unknown strategy: `guess`\nhint: there is `bisect`, `certify`" in text_of(result)
    assert jobs["total"] == 1


@pytest.mark.parametrize("tool", ["test_context", "test_all"])
async def test_models_of_others_make_room_only_when_asked(
    client: Client, backend: GatedBackend, tool: str
) -> None:
    """What the user has loaded may be in use: it goes only if the user agrees, and comes back."""
    arguments: dict[str, object] = {"proof": "load"}
    arguments |= {"model": "gemma"} if tool == "test_context" else {}
    theirs = backend.preload("qwen3-8b", 2_048)

    await ask(client, tool, **arguments)
    assert [copy.identifier for _, copy in backend.loaded()] == [theirs.identifier]

    arguments |= {"unload_others": True} | ({"retest": True} if tool == "test_all" else {})
    view = await ask(client, tool, **arguments)
    [(key, copy)] = backend.loaded()
    assert (key, copy.context) == ("qwen3-8b", 2_048)
    assert copy.identifier != theirs.identifier
    assert view["message"] == "done; qwen3-8b is loaded again at 2,048 tokens"


async def test_stopped_job_loads_again_all_that_it_unloaded(
    client: Client, backend: GatedBackend
) -> None:
    """Stopping is no reason to keep what was only lent."""
    for context in (1_024, 2_048):
        backend.preload("qwen3-8b", context)
    backend.gate.clear()
    job = await ask(client, "test_context", model="gemma", unload_others=True, wait_s=0)
    await until_loading(backend)
    stopping = await ask(client, "job", job_id=job["job_id"], action="cancel", wait_s=0)
    backend.gate.set()
    stopped = await ask(client, "job", job_id=job["job_id"])

    assert (stopping["status"], stopped["status"]) in {
        ("running", "cancelled"),
        ("cancelled", "cancelled"),
    }
    assert sorted(copy.context or 0 for _, copy in backend.loaded()) == [1_024, 2_048]
    assert "qwen3-8b is loaded again at 2,048 tokens" in stopped["message"]


@pytest.mark.parametrize("tool", ["test_context", "test_all"])
async def test_stopped_test_goes_on_where_it_was_by_the_same_call(
    client: Client, backend: GatedBackend, registry: MemoryRegistry, tool: str
) -> None:
    """What was measured is never measured twice, and a model is told so that it dares to stop."""
    arguments: dict[str, object] = {"proof": "load"}
    arguments |= {"model": "gemma"} if tool == "test_context" else {"query": "gemma"}
    backend.gate.clear()
    backend.free = 1
    job = await ask(client, tool, **arguments, wait_s=0)
    await until_loading(backend)
    stopped = await ask(client, "job", job_id=job["job_id"], action="cancel")
    backend.gate.set()
    resumed = await ask(client, tool, **arguments)

    assert stopped["status"] == "cancelled"
    assert "the same call" in stopped["message"]
    assert "goes on where it was" in stopped["message"]
    assert resumed["status"] == "completed"
    passed = [p.requested for p in registry.probes() if p.outcome is Outcome.PASSED]
    assert passed == sorted(set(passed))
    assert (passed[0], passed[-1]) == (4_096, 32_768)


async def test_machine_without_memory_is_left_in_peace() -> None:
    """A test that cannot be safe is refused with a remedy, and nothing was loaded to find out."""
    model = FakeModel(key="m", fixed_bytes=8 << 30, tells_prior=True)
    backend = FakeBackend(model, budget_bytes=1 << 30)
    strix = LMStrix(backend=backend, registry=MemoryRegistry())
    async with Client(build_server(strix)) as client:
        result = await client.call_tool("test_context", {"model": "m"})

    assert result.is_error
    assert "the machine can spare 1.0 GiB\nhint: close other programs" in text_of(result)
    assert backend.calls == []


async def test_model_that_fails_midway_is_skipped_and_the_rest_is_reported() -> None:
    """A batch of a night must not end at its third model; and the count still comes to its end."""
    lost = FakeModel(key="a", declared=8_192, fails_answer={4_096: Outcome.UNAVAILABLE})
    backend = FakeBackend(lost, FakeModel(key="b", declared=8_192))
    strix = LMStrix(backend=backend, registry=MemoryRegistry())
    async with Client(build_server(strix)) as client:
        view = await ask(client, "test_all")

    result = ReportList.model_validate(view["result"])
    assert [report.model for report in result.reports] == ["b"]
    assert [skipped.model for skipped in result.skipped] == ["a"]
    assert (view["done"], view["total"], view["message"]) == (2, 2, "done")


async def test_batch_without_models_ends_at_once(client: Client) -> None:
    """Words that find nothing are no error: the list is empty, as it is with `list_models`."""
    view = await ask(client, "test_all", query="nothing of the kind")

    assert (view["status"], view["total"]) == ("completed", None)
    assert view["result"] == {"reports": [], "skipped": []}


async def test_report_of_many_models_is_cut_to_what_a_model_can_read() -> None:
    """A host cuts a long answer anywhere, and what is left is no JSON; the message tells of it."""
    models = [FakeModel(key=f"model-{number:02}", declared=16_384) for number in range(12)]
    strix = LMStrix(backend=FakeBackend(*models), registry=MemoryRegistry())
    async with Client(build_server(strix)) as client:
        view = await ask(client, "test_all")

    result = ReportList.model_validate(view["result"])
    assert [report.limits.answered for report in result.reports] == [16_384] * 12
    assert len(result.model_dump_json()) <= LONGEST
    assert view["message"].endswith("`lmstrix history` has them")
