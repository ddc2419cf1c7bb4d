"""One engine, many askers: what becomes of a piece of work."""

import logging
import threading
from collections.abc import Iterator

import pytest

from lmstrix.engine.events import OnEvent
from lmstrix.errors import BackendUnavailableError, RequestError
from lmstrix.server.jobs import KEPT, Job, Jobs
from lmstrix.server.views import JobList
from lmstrix.values import Completion, Event
from server.gate import PATIENCE_S

ANSWER = Completion(
    text="4",
    model="m",
    requested_context=None,
    effective_context=4_096,
    reused=True,
    prompt_tokens=3,
    completion_tokens=1,
    stop_reason="stop",
    truncated=False,
    load_s=None,
    infer_s=0.1,
    ttft_s=None,
    decode_tps=None,
)


class Engine:
    """Work that goes on until it is let go, giving signs of life meanwhile."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()

    def __call__(self, *, on_event: OnEvent) -> Completion:
        """Work until the gate is open."""
        self.begun.set()
        while not self.gate.wait(0.01):
            on_event(Event(kind="loading", message="loading m"))
        return ANSWER


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    """The jobs of one server."""
    opened = Jobs()
    yield opened
    opened.close(PATIENCE_S)


@pytest.fixture
def engine() -> Iterator[Engine]:
    """Work that lasts."""
    work = Engine()
    yield work
    work.gate.set()


def answer(*, on_event: OnEvent) -> Completion:
    """Work that ends at once."""
    return ANSWER


def run(jobs: Jobs, work: object = answer) -> Job:
    """Run one job to its end."""
    assert callable(work)
    job = jobs.start("infer", work)
    assert job.wait(PATIENCE_S)
    return job


def test_work_that_ends_is_completed_and_its_result_is_kept(jobs: Jobs) -> None:
    """Whoever asks later gets what the engine returned, and knows that nothing is to come."""
    view = run(jobs).view

    assert (view.status, view.result, view.error) == ("completed", ANSWER, None)
    assert jobs.find(view.job_id).view is view


def test_second_job_is_queued_until_the_first_has_ended(jobs: Jobs, engine: Engine) -> None:
    """Two tests side by side would measure each other."""
    first, second = jobs.start("test_context", engine), jobs.start("infer", answer)
    assert engine.begun.wait(PATIENCE_S)

    assert (first.view.status, second.view.status) == ("running", "queued")
    assert second.view.message == "waiting, 1 ahead"

    engine.gate.set()
    assert second.wait(PATIENCE_S)
    assert (first.view.status, second.view.status) == ("completed", "completed")


def test_running_job_stops_when_the_engine_next_speaks(jobs: Jobs, engine: Engine) -> None:
    """A thread cannot be interrupted: raising from the callback is the engine's only way out."""
    job = jobs.start("test_context", engine)
    assert engine.begun.wait(PATIENCE_S)

    job.cancel()

    assert job.wait(PATIENCE_S)
    assert job.view.status == "cancelled"
    assert job.view.result is None


def test_queued_job_that_is_cancelled_never_starts(jobs: Jobs, engine: Engine) -> None:
    """What nobody wants any more must not load a model."""
    jobs.start("test_context", engine)
    never = Engine()
    queued = jobs.start("test_context", never)

    queued.cancel()

    assert queued.view.status == "cancelled"
    engine.gate.set()
    run(jobs)
    assert not never.begun.is_set()


def test_cancelling_what_has_ended_changes_nothing(jobs: Jobs) -> None:
    """A result that is there must not be lost to a late change of mind."""
    job = run(jobs)

    job.cancel()

    assert job.view.status == "completed"
    assert job.view.result == ANSWER


def test_failure_of_the_runtime_is_told_with_its_remedy(jobs: Jobs) -> None:
    """The calling model can only act upon what it is told."""

    def fail(*, on_event: OnEvent) -> Completion:
        raise BackendUnavailableError("LM Studio does not answer", hint="start its server")

    view = run(jobs, fail).view

    assert view.status == "failed"
    assert view.error == "LM Studio does not answer\nhint: start its server"


def test_unexpected_exception_is_logged_and_not_told(
    jobs: Jobs, caplog: pytest.LogCaptureFixture
) -> None:
    """Paths and secrets may stand in a traceback: it is for our log, and the job has failed."""

    def crash(*, on_event: OnEvent) -> Completion:
        raise KeyError("/home/secret")

    with caplog.at_level(logging.ERROR):
        view = run(jobs, crash).view

    assert view.status == "failed"
    assert "secret" not in view.model_dump_json()
    assert "/home/secret" in caplog.text


def test_engine_goes_on_after_a_job_has_failed(jobs: Jobs) -> None:
    """One bad job must not block the queue for the server's life."""

    def crash(*, on_event: OnEvent) -> Completion:
        raise KeyError

    run(jobs, crash)

    assert run(jobs).view.status == "completed"


def test_oldest_ended_jobs_are_forgotten(jobs: Jobs) -> None:
    """A server lives for weeks, and an answer can be long."""
    first = run(jobs)
    for _ in range(KEPT):
        run(jobs)
    newest = run(jobs)

    result = jobs.listing().result
    assert isinstance(result, JobList)
    known = [job.job_id for job in result.jobs]
    assert first.view.job_id not in known
    assert known[0] == newest.view.job_id
    assert len(known) == KEPT + 1


def test_job_without_a_name_is_the_newest(jobs: Jobs) -> None:
    """An agent that follows what it just started need not repeat the id."""
    run(jobs)
    newest = run(jobs)

    assert jobs.find("") is newest


def test_unknown_job_is_refused_with_the_known_ones(jobs: Jobs) -> None:
    """A model that garbled an id can correct itself."""
    known = run(jobs)

    with pytest.raises(RequestError, match="`nope`") as caught:
        jobs.find("nope")

    assert known.view.job_id in (caught.value.hint or "")


def test_closing_stops_what_runs_and_what_waits(jobs: Jobs, engine: Engine) -> None:
    """The process leaves right after: no thread may be left in the engine."""
    running, queued = jobs.start("test_context", engine), jobs.start("infer", answer)
    assert engine.begun.wait(PATIENCE_S)

    jobs.close(PATIENCE_S)

    assert [running.view.status, queued.view.status] == ["cancelled", "cancelled"]
