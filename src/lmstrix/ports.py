"""What the engine needs of the world: a runtime, a registry, a clock.

Adapters translate their SDK's exceptions into `lmstrix.errors`; no foreign exception crosses these
lines. All methods block. A `Tick` callback is called at least twice a second while its method
blocks, in the caller's thread; raising from it stops the work and propagates.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from lmstrix.errors import RequestError
from lmstrix.values import Fingerprint, Limits, LoadConfig, LoadedModel, Model, Probe

Phase = Literal["load", "prefill", "decode"]


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A sign of life: what a runtime is doing, and how far it is.

    `done` and `total` are a fraction for `load` (None: not told), tokens for the other phases.
    `text` is what was generated since the last tick.
    """

    phase: Phase
    done: float | None = None
    total: float | None = None
    text: str = ""


OnTick = Callable[[Tick], None]


@dataclass(frozen=True, kw_only=True)
class LoadRequest:
    """How to load a model. Sizes in tokens and bytes, time in seconds."""

    context: int | None
    """Context to ask for; None leaves it to the runtime."""
    config: LoadConfig
    budget_bytes: int | None
    """Most memory the loaded model may take; None: no cap of ours."""
    timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Text for a model: through its chat template, or raw."""

    text: str
    system: str = ""
    chat: bool = True


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How tokens are chosen. None leaves a value to the runtime."""

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Generation:
    """What came of a prompt. Counts are the runtime's own; `cached_tokens` were not prefilled."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    stop_reason: Literal["stop", "length", "context"]
    cached_tokens: int | None = None
    ttft_s: float | None = None
    prefill_tps: float | None = None
    decode_tps: float | None = None


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """A graphics card with memory of its own. In bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, kw_only=True)
class MachineMemory:
    """The memory of the machine that a runtime loads models on, as it is now. In bytes.

    Attributes:
        total: Main memory.
        available: What could be taken without swapping.
        swap_total: Size of the swap space.
        swap_used: How much of it is in use.
        accelerators: Graphics cards, if their memory can be read.
    """

    total: int
    available: int
    swap_total: int = 0
    swap_used: int = 0
    accelerators: tuple[Accelerator, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is thought of a model's memory before a load was measured.

    Attributes:
        bytes_per_token: From the header of the file, or the runtime's own estimate.
        fixed_bytes: What it takes without any context, if that is known: the weights, mostly.
        relative_error: Standard error of both, as a part of them.
        filling: What each token takes on top once it is read, in bytes: copies of the prompt.
        filling_fixed: What any long prompt takes on top, in bytes.
    """

    bytes_per_token: float
    fixed_bytes: int | None = None
    relative_error: float = 0.25
    filling: float = 0.0
    filling_fixed: int = 0

    def __post_init__(self) -> None:
        parts = self.bytes_per_token, self.fixed_bytes or 0, self.filling, self.filling_fixed
        if min(parts) < 0 or self.relative_error <= 0:
            raise RequestError("memory is estimated in positive numbers of bytes")


class Loaded(Protocol):
    """One loaded copy of a model. Whoever loaded it closes it."""

    @property
    def identifier(self) -> str:
        """Names this copy within its runtime."""
        ...

    @property
    def context(self) -> int:
        """The effective context, in tokens, as the runtime reports it."""
        ...

    @property
    def load_s(self) -> float | None:
        """Seconds the load took; None if this copy was loaded by someone else."""
        ...

    @property
    def has_chat_template(self) -> bool:
        """Whether the model brings a chat template of its own; a base model does not."""
        ...

    def memory_bytes(self) -> int | None:
        """Return the most memory this copy has taken so far, or None if it cannot be known."""
        ...

    def count_tokens(self, prompt: Prompt) -> int:
        """Return how many tokens the model sees for `prompt`, template and special tokens included.

        Raises:
            GenerationError: The runtime failed.
        """
        ...

    def complete(
        self, prompt: Prompt, sampling: Sampling, *, stall_s: float, on_tick: OnTick | None = None
    ) -> Generation:
        """Return the model's continuation.

        Args:
            prompt: What to continue.
            sampling: How to choose tokens, and how many at most.
            stall_s: Longest silence, in seconds, before the runtime is taken to hang.
            on_tick: Told of progress; raising from it cancels the generation.

        Raises:
            PromptTooLongError: The prompt does not fit the loaded context.
            GenerationError: The runtime died, hung or failed; `outcome` says which.
            BackendUnavailableError: The runtime cannot be reached any more.
        """
        ...

    def unload(self) -> None:
        """Release the copy. Unloading twice is not an error."""
        ...


class Backend(Protocol):
    """A model runtime: LM Studio, llama.cpp, or a fake."""

    @property
    def name(self) -> str:
        """`lmstudio`, `llamacpp`, …; part of every model and fingerprint."""
        ...

    def list_models(self) -> Sequence[Model]:
        """Return every model that could be loaded, by key, without limits or status.

        Raises:
            BackendUnavailableError: The runtime cannot be reached.
        """
        ...

    def problems(self) -> Sequence[str]:
        """Return what the last `list_models` passed over and why, a line each."""
        ...

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """Return what a limit measured with `config` would hold for, before any budget."""
        ...

    def prior(self, model: Model, config: LoadConfig) -> Prior | None:
        """Return what loading `model` is thought to take, without loading it. None: no idea."""
        ...

    def memory(self) -> MachineMemory | None:
        """Return the memory of the machine that models are loaded on. None: it cannot be read."""
        ...

    def load(self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None) -> Loaded:
        """Load a new copy of `model`, as `request` says.

        Raises:
            ModelLoadError: The runtime refused or failed; `outcome` says which.
            BackendUnavailableError: The runtime cannot be reached.
        """
        ...

    def loaded(self) -> Sequence[tuple[str, LoadedModel]]:
        """Return the copies loaded now, each behind the key of its model."""
        ...

    def attach(self, identifier: str) -> Loaded | None:
        """Return the loaded copy of that name, or None. It is not ours to unload."""
        ...

    def close(self) -> None:
        """Release what this object holds, the copies it loaded included."""
        ...


class Registry(Protocol):
    """What was measured. Probes are append-only, and the crash journal.

    A probe row is on disk before the probe starts, and is closed when it ends. A row that is still
    open although its process is gone reads as `interrupted`.
    """

    def put_models(self, backend: str, models: Sequence[Model]) -> None:
        """Make `models` the ones known for `backend`; probes of others are kept."""
        ...

    def models(self) -> Sequence[Model]:
        """Return the known models by key, with status and the newest limits that hold a context."""
        ...

    def open_probe(self, backend: str, probe: Probe) -> Probe:
        """Write the row of a probe that is about to start, durably; return it with its id."""
        ...

    def close_probe(self, probe: Probe) -> None:
        """Write the end of an open probe, and the limits that follow from it."""
        ...

    def probes(
        self, *, backend: str | None = None, model: str | None = None, digest: str | None = None
    ) -> Sequence[Probe]:
        """Return probes in the order they were opened, of one model or fingerprint if given."""
        ...

    def limits_of(self, backend: str, model: str) -> Sequence[Limits]:
        """Return the limits of `model`, one for each fingerprint, the newest last."""
        ...

    def sweep(self) -> Sequence[Probe]:
        """Close the open probes of dead processes as `interrupted`; return those."""
        ...

    def get_note(self, name: str) -> str | None:
        """Return a small remembered text, such as the last model used."""
        ...

    def put_note(self, name: str, text: str) -> None:
        """Remember a small text."""
        ...

    def measuring(self, backend: str) -> AbstractContextManager[None]:
        """Hold the right to probe on `backend`, across processes.

        Raises:
            BusyError: Another process holds it.
        """
        ...

    def close(self) -> None:
        """Release the file."""
        ...


class Clock(Protocol):
    """The time, read at the edge and passed in."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        ...

    def seconds(self) -> float:
        """Return seconds that never run backwards, from an arbitrary start."""
        ...
