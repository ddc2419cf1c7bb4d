"""Jobs: the synchronous engine behind tools that must answer soon.

One job runs at a time, in a daemon thread, in the order of asking: two at once would measure each
other. A job outlives the call that started it. Its view is an immutable value, replaced as a whole
under the job's lock, so that it may be read from any thread without one.
"""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from lmstrix.engine.events import OnEvent
from lmstrix.errors import LMStrixError, RequestError
from lmstrix.server.errors import explain
from lmstrix.server.views import JobKind, JobList, JobSummary, JobView
from lmstrix.values import Completion, Event, ReportList, TestReport

log = logging.getLogger(__name__)

KEPT: Final = 100
"""Ended jobs that are remembered; the oldest are forgotten first."""

STOPPED: Final[Mapping[JobKind, str]] = {
    "test_context": "stopped as asked; every probe that ended is recorded, and the same call goes "
    "on where it was",
    "test_all": "stopped as asked; every probe that ended is recorded, and the same call, without "
    "`retest`, goes on where it was",
    "infer": "stopped as asked",
}


class Work(Protocol):
    """A call of the engine with everything settled but whom it tells what goes on."""

    def __call__(self, *, on_event: OnEvent) -> TestReport | ReportList | Completion:
        """Do it, and return what came of it."""
        ...


class JobStoppedError(Exception):
    """The engine was asked to stop. Raised through it, never shown."""


class Job:
    """One piece of work for the engine."""

    def __init__(self, kind: JobKind, work: Work, message: str) -> None:
        self.view = JobView(
            job_id=f"{kind}-{secrets.token_hex(4)}", kind=kind, status="queued", message=message
        )
        self._kind = kind
        self._work = work
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._notes: list[str] = []

    def cancel(self) -> None:
        """Ask the job to stop; it does so when the engine next tells what it is doing."""
        self._stop.set()
        with self._lock:
            if self.view.status == "queued":
                self._replace(status="cancelled", message=STOPPED[self._kind])
            elif self.view.status == "running":
                self._replace(message="stopping after the step under way")

    def wait(self, timeout_s: float) -> bool:
        """Block up to `timeout_s` seconds; return whether the job has ended."""
        return self._ended.wait(timeout_s)

    def run(self) -> None:
        """Do the work in this thread, unless the job was cancelled before its turn came."""
        with self._lock:
            if self.view.ended:
                return
            self._replace(status="running", message="starting")
        try:
            result = self._work(on_event=self._hear)
        except JobStoppedError:
            self._end(status="cancelled", message=STOPPED[self._kind])
        except LMStrixError as error:
            self._end(status="failed", message="failed", error=explain(error))
        except Exception:
            # The engine's outermost frame: the cause is for our log, not for the model.
            log.exception("%s raised an unexpected exception", self.view.job_id)
            self._end(
                status="failed", message="failed", error="internal error; see the server's log"
            )
        else:
            self._end(status="completed", message="done", result=result)

    def _hear(self, event: Event) -> None:
        # Notes come while the engine cleans up, too: raising there would break that off.
        if event.kind == "noted":
            self._notes.append(event.message)
        elif self._stop.is_set():
            raise JobStoppedError
        else:
            self._notes.clear()
        with self._lock:
            self.view = self.view.after(event)

    def _end(self, *, message: str, **update: Any) -> None:
        # What was noted last is how things were left: which model is loaded again, or is not.
        with self._lock:
            self._replace(message="; ".join([message, *self._notes]), **update)

    def _replace(self, **update: Any) -> None:
        self.view = self.view.model_copy(update=update)
        if self.view.ended:
            self._ended.set()


class Jobs:
    """The jobs of one server."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._lock = threading.Lock()
        self._engine: threading.Thread | None = None

    def start(self, kind: JobKind, work: Work) -> Job:
        """Queue `work`; it starts at once if the engine is free."""
        with self._lock:
            self._forget()
            job = Job(kind, work, self._reason_to_wait())
            self._jobs[job.view.job_id] = job
            self._waiting.append(job)
            if self._engine is None:
                self._engine = threading.Thread(target=self._work_off, name="engine", daemon=True)
                self._engine.start()
        return job

    def find(self, job_id: str) -> Job:
        """Return the job of that name, or the newest one if `job_id` is empty.

        Raises:
            RequestError: There is none; the known ones are in the hint.
        """
        known = self._newest_first()
        if not known:
            raise RequestError(
                "no job was started", hint="`infer`, `test_context` or `test_all` do"
            )
        for job in known:
            if job_id in {"", job.view.job_id}:
                return job
        listed = ", ".join(f"`{job.view.job_id}`" for job in known)
        raise RequestError(f"no job has the id `{job_id}`", hint=f"the known ones are {listed}")

    def listing(self) -> JobView:
        """Return all jobs, as a view whose result is the list."""
        views = [job.view for job in self._newest_first()]
        fields = set(JobSummary.model_fields)
        jobs = tuple(JobSummary(**view.model_dump(include=fields)) for view in views)
        return JobView(
            job_id="",
            kind="list",
            status="completed",
            done=sum(view.ended for view in views),
            total=len(views),
            message="newest first",
            result=JobList(jobs=jobs),
        )

    def close(self, timeout_s: float) -> None:
        """Cancel every job, and wait up to `timeout_s` seconds for the one that runs to end."""
        jobs = self._newest_first()
        for job in jobs:
            job.cancel()
        for job in jobs:
            # All but the one that runs have ended by now.
            job.wait(timeout_s)

    def _newest_first(self) -> Sequence[Job]:
        with self._lock:
            return list(reversed(self._jobs.values()))

    def _reason_to_wait(self) -> str:
        ahead = sum(not job.view.ended for job in self._jobs.values())
        return f"waiting, {ahead} ahead" if ahead else "waiting"

    def _forget(self) -> None:
        ended = [key for key, job in self._jobs.items() if job.view.ended]
        for key in ended[: max(0, len(ended) - KEPT)]:
            del self._jobs[key]

    def _work_off(self) -> None:
        while (job := self._next()) is not None:
            job.run()

    def _next(self) -> Job | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._engine = None
            return None
