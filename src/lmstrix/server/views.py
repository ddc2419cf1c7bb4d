"""What tools return beside the values themselves: jobs, and the short form of models."""

from math import floor
from typing import Final, Literal, Self

from pydantic import Field

from lmstrix.values import Completion, Event, Model, Status, TestReport, Value

JobKind = Literal["test_context", "infer"]
JobStatus = Literal["queued", "running", "completed", "failed", "cancelled"]

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
        description="Probes ended, a fraction counting the one that "
        "runs; tokens generated for `infer`.",
    )
    total: float | None = Field(default=None, description="Of how many, at most; null: not known.")
    message: str = Field(default="", description="What it is doing, in one line.")
    result: TestReport | Completion | JobList | None = Field(
        default=None, description="What came of it, once it is completed."
    )
    error: str | None = Field(default=None, description="Why it failed, and what to do about it.")

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in {"completed", "failed", "cancelled"}

    def after(self, event: Event) -> Self:
        """Return this view brought up to date with what the engine tells."""
        done, total = self.done, self.total
        match event.kind:
            case "planned" | "probe-started" | "probe-ended" | "finished":
                done, total = event.done or done, event.total or total
            case "prefill" if self.kind == "test_context" and event.done is not None:
                done = floor(done) + _part(event)
            case "decode" | "text" if self.kind == "infer":
                done, total = event.done or done, event.total or total
        message = event.message or self.message
        if self.kind == "test_context" and event.kind in _PHASES and event.context is not None:
            message = f"{event.context:,} tokens: {message}"
        return self.model_copy(update={"done": done, "total": total, "message": message})


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


def _part(event: Event) -> float:
    """Return how much of the window was read, two digits, always less than all of it.

    Of the window and not of the prompt: a short question is asked before the window is filled.
    """
    read, window = event.done or 0, event.context or 0
    return round(min(read / window, 0.99), 2) if window else 0
