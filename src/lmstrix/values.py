"""What is stored or sent: one frozen value serves the library, `--json`, MCP and the registry.

Lengths are in tokens, sizes in bytes, durations in seconds, speeds in tokens per second, times in
UTC. What is not known is None, never 0 or "".
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Value(BaseModel):
    """Base for anything stored or sent: immutable, and intolerant of unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Proof(StrEnum):
    """How much a probe proves, from least to most."""

    LOAD = "load"
    ANSWER = "answer"
    FILL = "fill"
    RECALL = "recall"

    @property
    def strength(self) -> int:
        """Rank among the proofs; a stronger one implies the weaker."""
        return list(Proof).index(self)


class Outcome(StrEnum):
    """What a probe ended in."""

    PASSED = "passed"
    RESIZED = "resized"
    REFUSED = "refused"
    OUT_OF_MEMORY = "out-of-memory"
    CRASHED = "crashed"
    NO_ANSWER = "no-answer"
    WRONG_ANSWER = "wrong-answer"
    TRUNCATED = "truncated"
    TOO_SLOW = "too-slow"
    TIMED_OUT = "timed-out"
    INTERRUPTED = "interrupted"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"

    @property
    def refutes(self) -> bool:
        """Whether this outcome bounds a limit from above."""
        return self in _REFUTING


_REFUTING = frozenset(
    {
        Outcome.OUT_OF_MEMORY,
        Outcome.CRASHED,
        Outcome.NO_ANSWER,
        Outcome.WRONG_ANSWER,
        Outcome.TRUNCATED,
        Outcome.TOO_SLOW,
        Outcome.TIMED_OUT,
        Outcome.INTERRUPTED,
    }
)


class Evidence(StrEnum):
    """How well a stored limit fits the load asked for now."""

    EXACT = "exact"
    STALE = "stale"
    NONE = "none"


class Status(StrEnum):
    """Where testing of a model stands."""

    UNTESTED = "untested"
    TESTING = "testing"
    TESTED = "tested"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    STALE = "stale"


class LoadConfig(Value):
    """How a model is loaded, apart from its context. None leaves the choice to the runtime."""

    kv_type: str | None = Field(default=None, description="Type of the KV cache, e.g. `q8_0`.")
    flash_attention: bool | None = Field(default=None, description="Flash attention on or off.")
    gpu_layers: int | None = Field(default=None, description="Layers offloaded to the GPU.")
    batch: int | None = Field(default=None, description="Logical batch size, in tokens.")
    parallel: int = Field(default=1, ge=1, description="Sequences served at once.")


class Fingerprint(Value):
    """What a limit holds for. Two equal fingerprints promise the same behaviour."""

    model: str = Field(description="Identity of the model file: size and header digest.")
    runtime: str = Field(description="Runtime and its version, e.g. `llamacpp 2026.10.11549`.")
    config: LoadConfig = Field(default_factory=LoadConfig, description="Load configuration.")
    machine: str = Field(description="Processor, memory and accelerators of the machine.")
    budget_bytes: int | None = Field(
        default=None, description="Memory budget set by the user for one loaded model, or null."
    )
    question: str | None = Field(
        default=None, description="The user's question and its answer, if ours were not asked."
    )

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that name this fingerprint."""
        without = {"question"} if self.question is None else None  # as before there was one
        text = self.model_dump_json(exclude=without)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class LoadedModel(Value):
    """One copy of a model that is loaded now."""

    identifier: str = Field(description="Name of this copy, unique within its runtime.")
    context: int | None = Field(description="Effective context, in tokens.")


class Limits(Value):
    """What context a model was seen to hold, one number for each proof; null where unproved."""

    declared: int | None = Field(description="Context length claimed by the model file, in tokens.")
    loadable: int | None = Field(default=None, description="Largest context that loaded.")
    answered: int | None = Field(
        default=None, description="Largest context that answered a short question."
    )
    usable: int | None = Field(
        default=None, description="Largest context whose whole window was filled and answered."
    )
    recall: int | None = Field(
        default=None, description="Largest context in which facts were found at every depth."
    )
    refuted: int | None = Field(
        default=None, description="Smallest context with a failure that counts."
    )
    efficiency: float | None = Field(default=None, description="usable / declared, 0 to 1.")
    evidence: Evidence = Field(
        default=Evidence.NONE, description="How well these limits fit a load made now."
    )
    fingerprint: Fingerprint | None = Field(default=None, description="What the limits hold for.")
    tested_at: datetime | None = Field(default=None, description="When the last probe ended.")
    prefill_tps: float | None = Field(
        default=None, description="Prompt tokens a second in the largest passing probe."
    )
    decode_tps: float | None = Field(
        default=None, description="Generated tokens a second in the largest passing probe."
    )
    ttft_s: float | None = Field(
        default=None, description="Seconds to the first token in the largest passing probe."
    )
    bytes_per_token: float | None = Field(
        default=None, description="Memory that one more token of context takes, as measured."
    )

    def of(self, proof: Proof) -> int | None:
        """Return the limit for `proof`, in tokens."""
        by_proof = {
            Proof.LOAD: self.loadable,
            Proof.ANSWER: self.answered,
            Proof.FILL: self.usable,
            Proof.RECALL: self.recall,
        }
        return by_proof[proof]

    @property
    def best(self) -> int | None:
        """The strongest proof there is of a context that works, in tokens; usable first."""
        return self.usable or self.answered or self.loadable


class Model(Value):
    """A model that a runtime offers, with what is known of its limits."""

    key: str = Field(description="Names the model, on every surface.")
    backend: str = Field(description="Runtime that offers it: `llamacpp` or `lmstudio`.")
    host: str | None = Field(default=None, description="Where that runtime answers, if remote.")
    path: str | None = Field(default=None, description="Model file, or the runtime's path for it.")
    format: str | None = Field(default=None, description="File format, e.g. `gguf`.")
    architecture: str | None = Field(default=None, description="E.g. `gemma3`.")
    params: str | None = Field(default=None, description="Number of parameters, e.g. `270M`.")
    quantization: str | None = Field(default=None, description="E.g. `Q4_K_M`.")
    size_bytes: int | None = Field(default=None, description="Size of the model file or files.")
    declared_context: int | None = Field(
        default=None, description="Context length claimed by the model file, in tokens."
    )
    vision: bool | None = Field(default=None, description="Whether the model reads images.")
    tool_use: bool | None = Field(default=None, description="Whether it was trained for tools.")
    loaded: tuple[LoadedModel, ...] = Field(default=(), description="Copies loaded now.")
    limits: Limits | None = Field(default=None, description="Measured limits, or null.")
    status: Status = Field(default=Status.UNTESTED, description="Where testing stands.")


class RecallScore(Value):
    """How many of the facts spread over a window were found again."""

    asked: int = Field(ge=1, description="Facts asked for.")
    found: int = Field(ge=0, description="Facts given back exactly.")
    positions: tuple[float, ...] = Field(description="Depths of the facts found, 0 to 1.")


class Stair(Value):
    """One depth of a window that was filled step by step in one load, each going on from the last.

    Speeds are those of the tokens that this stair added; what was read before came from the cache.
    """

    depth: int = Field(ge=1, description="Tokens read in all, the question included.")
    prefilled: int = Field(ge=0, description="Tokens prefilled for this stair, all questions.")
    ttft_s: float | None = Field(
        default=None, description="Seconds to the first token, had nothing been cached."
    )
    prefill_tps: float | None = Field(default=None, description="Prompt tokens a second here.")
    decode_tps: float | None = Field(
        default=None, description="Generated tokens a second here, the median of the answers."
    )
    memory_bytes: int | None = Field(default=None, description="Most memory taken so far.")
    recall: RecallScore | None = Field(default=None, description="Facts found here, for `recall`.")


class Probe(Value):
    """One attempt: load at a requested context, read the effective one back, ask, unload.

    `outcome` is null while the probe runs: its row is written before it starts.
    """

    id: int | None = Field(default=None, description="Number in the registry.")
    model: str = Field(description="Key of the model.")
    requested: int = Field(ge=1, description="Context asked for, in tokens.")
    effective: int | None = Field(default=None, description="Context the runtime says it loaded.")
    proof: Proof = Field(description="What the probe was to prove.")
    outcome: Outcome | None = Field(default=None, description="What it ended in; null: it runs.")
    detail: str | None = Field(default=None, description="Why, in the runtime's own words.")
    prompt_tokens: int | None = Field(default=None, description="Tokens prefilled.")
    load_s: float | None = Field(default=None, description="Seconds to load.")
    ttft_s: float | None = Field(default=None, description="Seconds to the first token.")
    prefill_tps: float | None = Field(default=None, description="Prompt tokens a second.")
    decode_tps: float | None = Field(default=None, description="Generated tokens a second.")
    memory_bytes: int | None = Field(
        default=None, description="Most memory that the loaded model took."
    )
    recall: RecallScore | None = Field(default=None, description="Facts found, for `recall`.")
    stairs: tuple[Stair, ...] = Field(
        default=(), description="Speed, memory and recall by depth, where the window was filled."
    )
    confirmed: bool = Field(
        default=False,
        description="Whether its failure was seen twice in one load that had answered before.",
    )
    fingerprint: Fingerprint | None = Field(default=None, description="What it holds for.")
    started_at: datetime = Field(description="When the probe began.")
    ended_at: datetime | None = Field(default=None, description="When it ended; null: it runs.")

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        if (self.outcome is None) != (self.ended_at is None):
            raise ValueError("a probe has an outcome exactly when it has ended")
        return self

    @property
    def passed(self) -> bool:
        """Whether the probe proved what it was to prove, at its effective context."""
        return self.outcome is Outcome.PASSED

    @property
    def is_certain(self) -> bool:
        """Whether a failure counts at once: it is never tried again, or was seen twice."""
        return self.confirmed or self.outcome in {Outcome.OUT_OF_MEMORY, Outcome.INTERRUPTED}

    @property
    def decides(self) -> bool:
        """Whether the probe says anything of its size."""
        return self.passed or (self.outcome is not None and self.outcome.refutes)

    @property
    def prefilled_tokens(self) -> int:
        """Tokens pushed through the model, as far as the probe tells."""
        return sum(stair.prefilled for stair in self.stairs) or self.prompt_tokens or 0


class Forecast(Value):
    """What a search will cost at most, said before it starts."""

    probes: int = Field(description="Loads, at most.")
    prefill_tokens: int = Field(description="Tokens to push through the model, at most.")
    seconds: float | None = Field(description="Time, at most; null while no speed is known.")
    memory_bytes: int | None = Field(description="Most memory that one probe is allowed to take.")


class TestReport(Value):
    """What one test of one model found."""

    __test__ = False  # pytest: a value, not a test class

    model: str = Field(description="Key of the model.")
    status: Status = Field(description="tested, failed (no context works), interrupted or testing.")
    limits: Limits = Field(description="Limits after the test.")
    probes: tuple[Probe, ...] = Field(description="The probes of this test, in order.")
    stopped_because: str = Field(description="Why the search ended, in one line.")
    forecast: Forecast | None = Field(description="What was forecast before it began.")
    usable_at_speed: int | None = Field(
        default=None,
        description="Deepest that was filled as fast as was asked for, in tokens.",
    )
    elapsed_s: float = Field(description="Seconds the test took.")


class Completion(Value):
    """An answer, with the context it was given in and how long it took."""

    text: str = Field(description="The model's text.")
    model: str = Field(description="Key of the model.")
    requested_context: int | None = Field(description="Context asked for; null: none was said.")
    effective_context: int = Field(description="Context the runtime had loaded.")
    reused: bool = Field(description="Whether an already loaded copy was used.")
    prompt_tokens: int | None = Field(description="Tokens of the prompt, as the runtime counts.")
    completion_tokens: int | None = Field(description="Tokens generated.")
    stop_reason: Literal["stop", "length", "context", "cancelled"] = Field(
        description="stop: the model ended; length: out_ctx; context: the window was full."
    )
    truncated: bool = Field(description="Whether the answer was cut by out_ctx or the window.")
    load_s: float | None = Field(description="Seconds to load; null: reused.")
    infer_s: float = Field(description="Seconds from request to last token.")
    ttft_s: float | None = Field(description="Seconds to the first token.")
    decode_tps: float | None = Field(description="Generated tokens a second.")
    warnings: tuple[str, ...] = Field(default=(), description="What the user should know.")


EventKind = Literal[
    "scanned",
    "planned",
    "noted",
    "probe-started",
    "loading",
    "loaded",
    "reused",
    "prefill",
    "decode",
    "text",
    "probe-ended",
    "finished",
]


class Event(Value):
    """What goes on, told while it goes on. `done` and `total` count what `kind` is about."""

    kind: EventKind = Field(description="What the event is about.")
    model: str | None = Field(default=None, description="Key of the model.")
    context: int | None = Field(default=None, description="Context in question, in tokens.")
    done: float | None = Field(default=None, description="How much is done.")
    total: float | None = Field(default=None, description="Of how much.")
    message: str = Field(default="", description="The same, for a person.")
    text: str | None = Field(default=None, description="Generated text, for kind `text`.")
    probe: Probe | None = Field(default=None, description="The probe that started or ended.")
    forecast: Forecast | None = Field(default=None, description="For kind `planned`.")
    report: TestReport | None = Field(default=None, description="For `finished`, of a test.")


class ModelList(Value):
    """One page of models."""

    models: tuple[Model, ...]
    total: int = Field(description="Models that match, on all pages.")
    next_offset: int | None = Field(default=None, description="Offset of the next page, or null.")


class ProbeList(Value):
    """Probes, newest last."""

    probes: tuple[Probe, ...]


class Skipped(Value):
    """A model that a batch did not test."""

    model: str = Field(description="Key of the model, or path of a file that is none.")
    reason: str = Field(description="Why, in one line.")


class ReportList(Value):
    """One report for each model tested."""

    reports: tuple[TestReport, ...]
    skipped: tuple[Skipped, ...] = Field(default=(), description="Models that were not tested.")


class Check(Value):
    """One thing that `doctor` looked at."""

    name: str = Field(description="What was looked at, e.g. `registry`.")
    ok: bool = Field(description="Whether all is well.")
    detail: str = Field(description="What was found, in one line.")
    hint: str | None = Field(default=None, description="What to do about it, when not well.")


class Diagnosis(Value):
    """What `doctor` found."""

    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether every check is well."""
        return all(check.ok for check in self.checks)
