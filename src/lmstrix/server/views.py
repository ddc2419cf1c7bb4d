"""What tools return beside the values themselves: jobs, and the short form of models."""

from math import floor
from typing import Final, Literal, Self

from pydantic import Field

from lmstrix.values import (
    Completion,
    Event,
    Model,
    Probe,
    ReportList,
    Status,
    TestReport,
    Value,
)

JobKind = Literal["test_context", "test_all", "infer"]
JobStatus = Literal["queued", "running", "completed", "failed", "cancelled"]

LONGEST: Final = 12_000
"""Characters of a test's result, about 3 000 tokens; of a longer one, details are left out."""

_PHASES: Final = frozenset({"loading", "loaded", "prefill", "decode"})
"""Events inside a probe, whose message does not say which one it is."""


class JobSummary(Value):
    """One job in a list of jobs."""

    job_id: str = Field(description="Names the job for the `job` tool.")
    kind: JobKind = Field(description="The tool that started it.")
    status: JobStatus = Field(description="Where it stands.")
    message: str = Field(description="What it is doing, in one line.")


class JobList(Value):
    """Every job of this server that is remembered."""

    jobs: tuple[JobSummary, ...] = Field(description="Newest first.")


class JobView(Value):
    """A piece of work that may outlast the call that started it."""

    job_id: str = Field(description="Names the job for the `job` tool; empty for a list of jobs.")
    kind: JobKind | Literal["list"] = Field(description="The tool that started it.")
    status: JobStatus = Field(description="Call `job` again while it is queued or running.")
    done: float = Field(
        default=0,
        description="Probes ended, a fraction counting the one that runs; models done with, for "
        "`test_all`; tokens generated, for `infer`.",
    )
    total: float | None = Field(default=None, description="Of how many, at most; null: not known.")
    message: str = Field(default="", description="What it is doing, in one line.")
    result: TestReport | ReportList | Completion | JobList | None = Field(
        default=None, description="What came of it, once it is completed."
    )
    error: str | None = Field(default=None, description="Why it failed, and what to do about it.")

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in {"completed", "failed", "cancelled"}

    def brief(self) -> Self:
        """Return this view, short enough for a reader whose own context is limited."""
        if not isinstance(self.result, TestReport | ReportList) or not _is_long(self.result):
            return self
        left_out = "details of some probes are left out here; `lmstrix history` has them"
        return self.model_copy(
            update={"result": _shortened(self.result), "message": f"{self.message}; {left_out}"}
        )

    def after(self, event: Event) -> Self:
        """Return this view brought up to date with what the engine tells."""
        done, total = self.done, self.total
        match self.kind, event.kind:
            case "test_all", "finished" if event.model is None:
                done, total = event.done or 0, event.total or None
            case "test_context" | "infer", "planned" | "probe-started" | "probe-ended" | "finished":
                done, total = event.done or done, event.total or total
            case "test_context", "prefill" if event.done is not None:
                done = floor(done) + _part(event)
            case "infer", "decode" | "text":
                done, total = event.done or done, event.total or total
            case _:
                pass  # counts something else
        message = self._told(event) if event.message else self.message
        return self.model_copy(update={"done": done, "total": total, "message": message})

    def _told(self, event: Event) -> str:
        """Return what `event` says, with the probe and the model that it is about."""
        message = event.message
        if self.kind == "infer":
            return message
        if event.kind in _PHASES and event.context is not None:
            message = f"{event.context:,} tokens: {message}"
        if self.kind == "test_all" and event.model is not None and event.model not in message:
            message = f"{event.model}: {message}"
        return message


class ModelSummary(Value):
    """The short form of a model: enough to choose one."""

    key: str = Field(description="Names the model in every other tool.")
    declared: int | None = Field(description="Context the model file claims, in tokens.")
    usable: int | None = Field(
        description="Largest context seen to work when full, in tokens; null: not tested so far."
    )
    status: Status = Field(description="Where testing stands.")
    loaded_context: int | None = Field(
        description="Context it is loaded with now, in tokens; null: not loaded."
    )

    @classmethod
    def of(cls, model: Model) -> Self:
        """Return the short form of `model`."""
        contexts = [copy.context for copy in model.loaded if copy.context is not None]
        return cls(
            key=model.key,
            declared=model.declared_context,
            usable=model.limits.usable if model.limits else None,
            status=model.status,
            loaded_context=max(contexts, default=None),
        )


class ModelPage(Value):
    """One page of models."""

    models: tuple[Model | ModelSummary, ...] = Field(
        description="In short form, or with everything known when `detail` was asked for."
    )
    total: int = Field(description="Models that match, on all pages.")
    next_offset: int | None = Field(description="`offset` of the next page, or null: no more.")


def _is_long(result: TestReport | ReportList) -> bool:
    return len(result.model_dump_json()) > LONGEST


def _shortened(result: TestReport | ReportList) -> TestReport | ReportList:
    """Return `result` with stairs in one probe of each report; or a batch, hardly with probes."""
    if isinstance(result, TestReport):
        return _with_stairs_once(result)
    reports = tuple(map(_with_stairs_once, result.reports))
    shorter = result.model_copy(update={"reports": reports})
    if not _is_long(shorter):
        return shorter
    return result.model_copy(update={"reports": tuple(map(_with_what_failed, reports))})


def _with_stairs_once(report: TestReport) -> TestReport:
    deciding = _deciding(report)
    probes = (p if p is deciding else _without_stairs(p) for p in report.probes)
    return report.model_copy(update={"probes": tuple(probes)})


def _with_what_failed(report: TestReport) -> TestReport:
    # The limits say what a model can; only the last probe says why it can do nothing.
    failed = report.probes[-1:] if report.status is not Status.TESTED else ()
    return report.model_copy(update={"probes": tuple(map(_without_stairs, failed))})


def _without_stairs(probe: Probe) -> Probe:
    return probe.model_copy(update={"stairs": ()})


def _deciding(report: TestReport) -> Probe | None:
    """Return the probe that proved most, or the last one if none proved anything."""
    passed = [probe for probe in report.probes if probe.passed]
    last = report.probes[-1] if report.probes else None
    return max(passed, key=lambda probe: (probe.proof.strength, probe.requested), default=last)


def _part(event: Event) -> float:
    """Return how much of the window was read, two digits, always less than all of it.

    Of the window and not of the prompt: a short question is asked before the window is filled.
    """
    read, window = event.done or 0, event.context or 0
    return round(min(read / window, 0.99), 2) if window else 0
