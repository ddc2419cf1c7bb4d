"""LMStrix, the one façade: the operations every surface offers, wired to a runtime and a registry.

Nothing is contacted or opened before it is needed. One object may be used from several threads;
operations that load models wait for each other.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack

from lmstrix.backends import open_backend
from lmstrix.clock import SystemClock
from lmstrix.engine.batch import forecast_tests, run_tests
from lmstrix.engine.bench import Bench
from lmstrix.engine.catalogue import Query, resolve, select, with_evidence, with_loaded
from lmstrix.engine.discovery import ContextTest, run_test
from lmstrix.engine.events import OnEvent, ignore
from lmstrix.engine.inference import InferOptions, InferRequest, run_infer
from lmstrix.engine.plan import PlanOptions, TestPlan, plan_of
from lmstrix.engine.room import room_made
from lmstrix.errors import BackendError, RequestError
from lmstrix.plugins import InstalledStrategies
from lmstrix.ports import Backend, Clock, Registry
from lmstrix.registry import open_registry
from lmstrix.settings import Settings
from lmstrix.values import (
    Completion,
    Event,
    Fingerprint,
    LoadConfig,
    LoadedModel,
    Model,
    ModelList,
    Probe,
    ProbeList,
    ReportList,
    Skipped,
    TestReport,
)

LAST_USED = "last-used-model"


class LMStrix:
    """Finds, remembers and uses the context that local models can really hold.

    Args:
        settings: What the user chose; read from environment and `config.toml` by default.
        backend: A runtime to use instead of the one the settings name.
        registry: A registry to use instead of the one under `LMSTRIX_HOME`.
        clock: The time; the system's by default.
        options: Single settings, which win over environment and file, e.g. `home=…`.

    Raises:
        ConfigError: A setting cannot be used.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        backend: Backend | None = None,
        registry: Registry | None = None,
        clock: Clock | None = None,
        **options: Any,
    ) -> None:
        self.settings = settings or Settings.read(**options)
        self._clock = clock or SystemClock()
        self._backend = backend
        self._registry = registry
        self._opening = threading.RLock()
        self._running = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unload what was loaded here and release the registry. Closing twice is not an error."""
        with self._opening:
            if self._backend is not None:
                self._backend.close()
            if self._registry is not None:
                self._registry.close()
            self._backend = self._registry = None

    @property
    def backend(self) -> Backend:
        """The runtime, opened on first use.

        Raises:
            BackendUnavailableError: None is installed or answers.
        """
        with self._opening:
            if self._backend is None:
                self._backend = open_backend(self.settings)
            return self._backend

    @property
    def registry(self) -> Registry:
        """The registry, opened on first use; probes of dead processes are then `interrupted`.

        Raises:
            RegistryError: It cannot be read or written.
        """
        with self._opening:
            if self._registry is None:
                self._registry = open_registry(self.settings.home, self._clock)
                self._registry.sweep()
            return self._registry

    def scan(self, *, on_event: OnEvent = ignore) -> ModelList:
        """Ask the runtime what models there are, and remember them.

        Raises:
            BackendUnavailableError: The runtime cannot be reached.
        """
        models = self.backend.list_models()
        self.registry.put_models(self.backend.name, models)
        on_event(Event(kind="scanned", done=len(models), message=f"{len(models)} models found"))
        return select(self._known(), Query())

    def list_models(self, *, refresh: bool = False, query: Query | None = None) -> ModelList:
        """Return known models with their limits; look for them first if none is known yet."""
        if refresh or not self.registry.models():
            self.scan()
        return select(self._known(), query or Query())

    def problems(self) -> Sequence[str]:
        """Return what the last scan passed over and why, a line each."""
        return self.backend.problems()

    def resolve(self, name: str) -> Model:
        """Return the one known model that `name` is a unique part of.

        Raises:
            UnknownModelError: Nothing matches, even after another scan.
            AmbiguousModelError: Several match.
        """
        known = self._known()
        if not any(name.casefold() in model.key.casefold() for model in known):
            self.scan()
            known = self._known()
        return resolve(name, known)

    def test_context(
        self, model: str, *, on_event: OnEvent = ignore, **options: Unpack[PlanOptions]
    ) -> TestReport:
        """Find the largest context that `model` really holds, and remember every probe.

        Args:
            model: Any unique part of a model's key.
            on_event: Told of every step; raising from it stops the test and cleans up.
            options: What `PlanOptions` lists, such as `proof`, `strategy` or `memory_budget`.

        Raises:
            RequestError: The model is unknown, or `context` exceeds what it declares.
            UnsafeError: The machine lacks the memory to try.
            BackendError: The runtime was lost, or another process is testing on it.
            RegistryError: What was measured cannot be written.
        """
        plan = self._plan(options)
        found, bench = self.resolve(model), self._bench(on_event)
        if options.get("dry_run"):
            return ContextTest(found, plan, bench).report()
        with self._alone(plan, bench):
            return run_test(found, plan, bench)

    def test_all(
        self,
        *,
        query: Query | None = None,
        on_event: OnEvent = ignore,
        **options: Unpack[PlanOptions],
    ) -> ReportList:
        """Test every model that `query` selects, in passes, the smallest model first.

        Args:
            query: Which models; all of them by default.
            on_event: Told of every step; a `finished` event carries the newest report of a model.
                Raising from it stops the batch and cleans up.
            options: As of `test_context`.

        Raises:
            RequestError: The plan cannot be followed.
            BackendError: The runtime cannot be reached, or another process is testing on it.
            RegistryError: What was measured cannot be written.
        """
        plan, bench = self._plan(options), self._bench(on_event)
        self.scan()
        models = select(self._known(), query or Query()).models
        passed_over = () if query and query.query else _passed_over(self.problems())
        if options.get("dry_run"):
            found = forecast_tests(models, plan, bench)
        else:
            with self._alone(plan, bench):
                found = run_tests(models, plan, bench)
        return found.model_copy(update={"skipped": (*found.skipped, *passed_over)})

    def infer(
        self,
        model: str = "",
        prompt: str = "",
        *,
        on_event: OnEvent = ignore,
        **options: Unpack[InferOptions],
    ) -> Completion:
        """Answer `prompt` with `model`, loaded only if no loaded copy will do.

        Args:
            model: Any unique part of a model's key; the last one used if empty.
            prompt: What to answer or continue.
            on_event: Told of every step and of text as it comes; raising from it cancels.
            options: Fields of `InferRequest`, such as `in_ctx`, `out_ctx` or `temperature`.

        Raises:
            RequestError: The model is unknown, or the context asked for exceeds what it declares.
            BackendError: The runtime failed.
        """
        request = InferRequest(prompt=prompt, **options)
        if request.budget_bytes is None:
            request = replace(request, budget_bytes=self.settings.memory_budget)
        found = self.resolve(model or self._last_used())
        with self._running:
            completion = run_infer(
                found, request, backend=self.backend, clock=self._clock, on_event=on_event
            )
        self.registry.put_note(LAST_USED, found.key)
        return completion

    def history(self, model: str = "") -> ProbeList:
        """Return every probe recorded, oldest first; of one model if named."""
        key = self.resolve(model).key if model else None
        return ProbeList(probes=tuple(self.registry.probes(model=key)))

    def loaded(self) -> Sequence[tuple[str, LoadedModel]]:
        """Return the copies loaded now, each behind its model's key."""
        return self.backend.loaded()

    def interrupted(self) -> Sequence[Probe]:
        """Return the probes that a process did not live to finish, oldest first."""
        return [p for p in self.registry.probes() if p.outcome == "interrupted"]

    def _bench(self, on_event: OnEvent) -> Bench:
        return Bench(
            backend=self.backend, registry=self.registry, clock=self._clock, on_event=on_event
        )

    def _plan(self, options: PlanOptions) -> TestPlan:
        return plan_of(options, others=InstalledStrategies(), budget=self.settings.memory_budget)

    @contextmanager
    def _alone(self, plan: TestPlan, bench: Bench) -> Iterator[None]:
        """Hold the right to probe, with room made for it.

        What others left behind is swept first, or it would seem to have ended after what follows.
        """
        with self._running, self.registry.measuring(self.backend.name):
            self.registry.sweep()
            with room_made(bench, unload_others=plan.unload_others, timeout_s=plan.timeout_s):
                yield

    def _known(self) -> Sequence[Model]:
        models = with_evidence(
            self.registry.models(),
            lambda model: self.registry.limits_of(model.backend, model.key),
            self._fingerprint_now,
        )
        # A runtime that nobody has opened yet has nothing loaded that we could know of.
        return models if self._backend is None else with_loaded(models, self._backend.loaded())

    def _fingerprint_now(self, model: Model) -> Fingerprint | None:
        """Return what a limit measured now would hold for; None if the runtime cannot tell."""
        try:
            if self.backend.name != model.backend:
                return None
            now = self.backend.fingerprint(model, LoadConfig())
        except (BackendError, RequestError):
            return None
        return now.model_copy(update={"budget_bytes": self.settings.memory_budget})

    def _last_used(self) -> str:
        return self.registry.get_note(LAST_USED) or ""


def _passed_over(problems: Sequence[str]) -> Iterable[Skipped]:
    """Return the files that a scan passed over; each problem is a path, a colon and a reason."""
    for problem in problems:
        path, _, reason = problem.partition(": ")
        yield Skipped(model=path, reason=reason)
