"""Every error LMStrix raises on purpose, in one tree.

    LMStrixError
    ├── RequestError (ValueError)       exit 2   the caller asked for what cannot be done
    │   ├── UnknownModelError                    carries the nearest keys
    │   ├── AmbiguousModelError                  carries the candidates
    │   ├── ContextTooLongError                  carries needed and available tokens
    │   └── ConfigError                          a setting cannot be read
    ├── BackendError                    exit 3   the model runtime let us down
    │   ├── BackendUnavailableError (ConnectionError)
    │   ├── BusyError                            another process is testing on this runtime
    │   ├── UnsafeError                          the machine has not the memory to try
    │   ├── FailedAttemptError                   carries the outcome and the runtime's own words
    │   │   ├── ModelLoadError
    │   │   └── GenerationError                  once the model was loaded
    │   └── PromptTooLongError                   the runtime refused the prompt as too long
    └── RegistryError                   exit 4   what was measured cannot be read or written
        ├── RegistryCorruptError                 never overwritten
        └── RegistryVersionError                 written by a newer LMStrix

`str(error)` is the problem, in one line without a full stop; `hint` is the remedy, one step that
can be taken. `code` is stable; the wording is not.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import ClassVar


class LMStrixError(Exception):
    """Base of every error raised deliberately by LMStrix."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RequestError(LMStrixError, ValueError):
    """The request is wrong: nothing was changed, and trying again will not help."""

    code = "request"
    exit_code = 2


class UnknownModelError(RequestError):
    """No model matches the name given."""

    code = "unknown-model"

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.nearest = get_close_matches(name, known, n=3, cutoff=0.3)
        if self.nearest:
            hint = "did you mean " + " or ".join(f"`{key}`" for key in self.nearest) + "?"
        elif known:
            hint = "`lmstrix list` shows the models that are known"
        else:
            hint = "no model is known yet: `lmstrix scan` looks for them"
        super().__init__(f"no model matches `{name}`", hint=hint)


class AmbiguousModelError(RequestError):
    """Several models match the name given."""

    code = "ambiguous-model"

    def __init__(self, name: str, candidates: Sequence[str]) -> None:
        self.name = name
        self.candidates = list(candidates)
        listed = ", ".join(f"`{key}`" for key in self.candidates)
        super().__init__(
            f"`{name}` matches {len(candidates)} models", hint=f"name one of: {listed}"
        )


class ContextTooLongError(RequestError):
    """More context is needed than the model declares or was seen to hold."""

    code = "context-too-long"

    def __init__(self, message: str, *, needed: int, available: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.needed = needed
        self.available = available


class ConfigError(RequestError):
    """A setting has a value that cannot be used."""

    code = "config"


class BackendError(LMStrixError):
    """The model runtime reported a failure."""

    code = "backend"
    exit_code = 3


class BackendUnavailableError(BackendError, ConnectionError):
    """The model runtime cannot be reached, or is not installed."""

    code = "backend-unavailable"


class BusyError(BackendError):
    """Another process is measuring on this runtime; two at once would measure each other."""

    code = "busy"


class UnsafeError(BackendError):
    """What was asked for cannot be tried safely: the machine lacks the memory. Nothing was done."""

    code = "unsafe"


class FailedAttemptError(BackendError):
    """The runtime tried and failed, which tells something about what it tried.

    `outcome` says what kind of failure it was, in the words of `lmstrix.values.Outcome`;
    `detail` is what the runtime itself printed.
    """

    code = "failed-attempt"

    def __init__(
        self, message: str, *, outcome: str, detail: str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.outcome = outcome
        self.detail = detail


class ModelLoadError(FailedAttemptError):
    """The runtime did not load the model."""

    code = "model-load"


class GenerationError(FailedAttemptError):
    """A loaded model stopped without an answer."""

    code = "generation"


class PromptTooLongError(BackendError):
    """The runtime refused a prompt because it exceeds the loaded context. Both are in tokens."""

    code = "prompt-too-long"

    def __init__(self, *, prompt_tokens: int, context: int) -> None:
        super().__init__(
            f"the prompt has {prompt_tokens} tokens, the loaded context holds {context}",
            hint="load the model with a larger `--in_ctx`, or shorten the prompt",
        )
        self.prompt_tokens = prompt_tokens
        self.context = context


class RegistryError(LMStrixError):
    """The registry cannot be read or written."""

    code = "registry"
    exit_code = 4


class RegistryCorruptError(RegistryError):
    """The registry file is damaged or is not a registry. It is left as it is."""

    code = "registry-corrupt"

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path} is not a readable registry: {reason}",
            hint=f"move it away (`mv '{path}' '{path}.damaged'`) and LMStrix starts a new one",
        )
        self.path = path


class RegistryVersionError(RegistryError):
    """The registry was written by a newer LMStrix. It is left as it is."""

    code = "registry-version"

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this LMStrix knows up to {known}",
            hint="update LMStrix, or point LMSTRIX_HOME at another folder",
        )
        self.path = path
