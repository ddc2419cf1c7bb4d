"""The embedded engine: GGUF files found in folders, one child process for each loaded model."""

import platform
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from lmstrix.backends.llamacpp.estimate import estimate
from lmstrix.backends.llamacpp.files import find_models, identity
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.backends.llamacpp.kv import BYTES_PER_NUMBER
from lmstrix.backends.llamacpp.loaded_copy import LoadedCopy
from lmstrix.backends.llamacpp.process import EngineProcess
from lmstrix.backends.llamacpp.wire import Wire
from lmstrix.backends.llamacpp.worker import Orders
from lmstrix.backends.machine import read_memory
from lmstrix.errors import GenerationError, ModelLoadError, RequestError
from lmstrix.ports import LoadRequest, MachineMemory, OnTick, Prior, Tick
from lmstrix.sizes import show_bytes
from lmstrix.values import Fingerprint, LoadConfig, LoadedModel, Model, Outcome

NAME: Final = "llamacpp"
BEAT_S: Final = 0.25


class LlamaCppBackend:
    """llama.cpp as a runtime; implements `lmstrix.ports.Backend`.

    Any thread may call. A copy is used by one caller at a time, which the façade sees to.

    Args:
        folders: Where GGUF files are looked for.
        cache: What is remembered of their headers.
    """

    name = NAME

    def __init__(self, folders: Sequence[Path], cache: HeaderCache) -> None:
        self._folders = tuple(folders)
        self._cache = cache
        self._problems: Sequence[str] = ()
        self._copies: dict[str, tuple[str, LoadedCopy]] = {}
        self._lock = threading.Lock()

    def list_models(self) -> Sequence[Model]:
        """See `Backend.list_models`."""
        found = find_models(self._folders, self._cache)
        self._problems = found.problems
        return found.models

    def problems(self) -> Sequence[str]:
        """See `Backend.problems`."""
        return self._problems

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """See `Backend.fingerprint`."""
        return Fingerprint(
            model=identity(_path(model), self._cache),
            runtime=f"{NAME} {version('xllamacpp')}",
            config=_checked(config),
            machine=self._machine,
        )

    def prior(self, model: Model, config: LoadConfig) -> Prior | None:
        """See `Backend.prior`."""
        return estimate(self._cache.read(_path(model)), _checked(config))

    def memory(self) -> MachineMemory:
        """See `Backend.memory`. Graphics cards count only if this build of llama.cpp uses them."""
        memory = read_memory()
        if memory.accelerators and not self._uses_cards:
            return replace(memory, accelerators=())
        return memory

    def load(
        self, model: Model, request: LoadRequest, *, on_tick: OnTick | None = None
    ) -> LoadedCopy:
        """See `Backend.load`."""
        orders = _orders(model, request)
        process = EngineProcess(
            orders, weights_bytes=model.size_bytes or 0, budget_bytes=request.budget_bytes
        )
        try:
            return self._adopt(model, orders, process, request, on_tick)
        except BaseException:
            process.end()
            raise

    def loaded(self) -> Sequence[tuple[str, LoadedModel]]:
        """See `Backend.loaded`."""
        with self._lock:
            copies = [(key, copy) for key, copy in self._copies.values() if copy.alive]
        return [
            (key, LoadedModel(identifier=copy.identifier, context=copy.context))
            for key, copy in copies
        ]

    def attach(self, identifier: str) -> LoadedCopy | None:
        """See `Backend.attach`."""
        with self._lock:
            _, copy = self._copies.get(identifier, ("", None))
        return copy if copy is not None and copy.alive else None

    def close(self) -> None:
        """See `Backend.close`."""
        with self._lock:
            copies = [copy for _, copy in self._copies.values()]
        for copy in copies:
            copy.unload()

    @cached_property
    def _machine(self) -> str:
        """The machine, for a fingerprint; read once, as models are fingerprinted by the dozen."""
        memory = self.memory()
        parts = [
            f"{platform.system()} {platform.machine()}",
            f"{psutil.cpu_count()} threads",
            show_bytes(memory.total),
            *(f"{card.name} {show_bytes(card.total)}" for card in memory.accelerators),
        ]
        return ", ".join(parts)

    @cached_property
    def _uses_cards(self) -> bool:
        """Whether the engine was built for NVIDIA's cards; the usual build knows no card at all."""
        import xllamacpp  # noqa: PLC0415 - asked only where there is a card

        return "CUDA" in str(xllamacpp.get_system_info())

    def _adopt(
        self,
        model: Model,
        orders: Orders,
        process: EngineProcess,
        request: LoadRequest,
        on_tick: OnTick | None,
    ) -> LoadedCopy:
        wire = Wire(_await_url(process, request.timeout_s, on_tick), orders.api_key)
        template = self._cache.read(_path(model)).has_chat_template
        try:
            copy = LoadedCopy(
                model, process, wire=wire, has_chat_template=template, on_unload=self._forget
            )
        except GenerationError as error:
            # It loaded, and had no memory left to say so.
            raise ModelLoadError(
                "the engine died as it began to serve", outcome=error.outcome, detail=error.detail
            ) from error
        with self._lock:
            self._copies[copy.identifier] = (model.key, copy)
        return copy

    def _forget(self, copy: LoadedCopy) -> None:
        with self._lock:
            self._copies.pop(copy.identifier, None)


def _await_url(process: EngineProcess, timeout_s: float, on_tick: OnTick | None) -> str:
    deadline = time.monotonic() + timeout_s
    while (url := process.wait_ready(BEAT_S)) is None:
        process.guard()
        if on_tick is not None:
            on_tick(Tick(phase="load"))
        if time.monotonic() > deadline:
            raise ModelLoadError(
                f"the model was not loaded within {timeout_s:.0f} s",
                outcome=Outcome.TIMED_OUT,
                detail=process.words,
                hint="allow it more with `--timeout`",
            )
    return url


def _orders(model: Model, request: LoadRequest) -> Orders:
    config = _checked(request.config)
    if not _path(model).is_file():
        raise ModelLoadError(
            f"the file of `{model.key}` is gone: {model.path}",
            outcome=Outcome.UNKNOWN,
            hint="`lmstrix scan` looks for models again",
        )
    return Orders(
        path=str(_path(model)),
        context=request.context,
        api_key=secrets.token_urlsafe(32),
        kv_type=config.kv_type,
        flash_attention=config.flash_attention,
        gpu_layers=config.gpu_layers,
        batch=config.batch,
        parallel=config.parallel,
        data_limit=_data_limit(model, request.budget_bytes),
    )


def _checked(config: LoadConfig) -> LoadConfig:
    if config.kv_type is not None and config.kv_type not in BYTES_PER_NUMBER:
        raise RequestError(
            f"llama.cpp has no KV cache type `{config.kv_type}`",
            hint="it is one of " + ", ".join(f"`{kind}`" for kind in BYTES_PER_NUMBER),
        )
    return config


def _data_limit(model: Model, budget: int | None) -> int | None:
    """Return what is left of the budget for private memory; the weights are mapped, not copied."""
    if budget is None:
        return None
    weights = model.size_bytes or 0
    if budget <= weights:
        raise ModelLoadError(
            f"the weights of `{model.key}` alone exceed the memory budget",
            outcome=Outcome.OUT_OF_MEMORY,
            detail=f"weights {show_bytes(weights)}, budget {show_bytes(budget)}",
            hint="allow it more with LMSTRIX_MEMORY_BUDGET",
        )
    return budget - weights


def _path(model: Model) -> Path:
    if model.path is None:
        raise RequestError(f"`{model.key}` has no model file", hint="run `lmstrix scan` again")
    return Path(model.path)
