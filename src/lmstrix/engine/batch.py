"""Test many models, in passes: the cheaper proof for every model first, the smallest model first.

So a batch that is stopped early has learnt something of every model it came to, and the windows,
which take longest to fill, come last. A model that fails, or cannot be tried, never stops the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from lmstrix.engine.bench import Bench
from lmstrix.engine.catalogue import by_size, is_embedding
from lmstrix.engine.discovery import ContextTest, TestPlan
from lmstrix.engine.forecast import describe
from lmstrix.errors import BackendError, RequestError
from lmstrix.values import Event, Forecast, Model, ReportList, Skipped, Status, TestReport

TESTED_BEFORE: Final = "it was tested before, under the same conditions"
"""Why a model is skipped that needs no other test."""


def run_tests(models: Sequence[Model], plan: TestPlan, bench: Bench) -> ReportList:
    """Test `models` as `plan` says; the reports come in the order in which models were begun.

    A report is told as `finished` after each pass over its model; the last one stands. How many of
    how many models are done is told as `finished` too, of no model, at the start and from then on.

    Models that make embeddings, that declare less than the one context asked for, or for which the
    same was found out before, are skipped, unless `plan.reset` wants the last ones tested again.

    Raises:
        RegistryError: What was measured cannot be written.
    """
    batch = _Batch(plan, bench)
    tests = batch.admitted(models)
    batch.begin(tests)
    for step in (ContextTest.search, ContextTest.prove):
        for test in tests:
            batch.take(step, test)
    return batch.result(tests)


def forecast_tests(models: Sequence[Model], plan: TestPlan, bench: Bench) -> ReportList:
    """Return the forecast for each model that `run_tests` would test, and why it would skip others.

    Nothing is loaded.
    """
    batch = _Batch(plan, bench)
    return ReportList(
        reports=tuple(test.report() for test in batch.admitted(models)),
        skipped=tuple(batch.skipped),
    )


def total(forecasts: Sequence[Forecast]) -> Forecast:
    """Return what several tests take together; the time is unknown if that of one is."""
    seconds = [forecast.seconds for forecast in forecasts]
    known = [second for second in seconds if second is not None]
    memory = [f.memory_bytes for f in forecasts if f.memory_bytes is not None]
    return Forecast(
        probes=sum(forecast.probes for forecast in forecasts),
        prefill_tokens=sum(forecast.prefill_tokens for forecast in forecasts),
        seconds=sum(known) if len(known) == len(seconds) else None,
        memory_bytes=max(memory, default=None),
    )


@dataclass
class _Batch:
    """A batch under way: what was skipped so far, and the newest report of each model."""

    plan: TestPlan
    bench: Bench
    skipped: list[Skipped] = field(default_factory=list)
    reports: dict[str, TestReport] = field(default_factory=dict)
    total: int = 0
    done: set[str] = field(default_factory=set)

    def admitted(self, models: Sequence[Model]) -> list[ContextTest]:
        """Return a test for each model that is to be tested, the smallest model first."""
        tests = []
        for model in by_size(models):
            try:
                tests.append(self._test(model))
            except (BackendError, RequestError) as error:
                self._skip(model.key, str(error))
        return tests

    def begin(self, tests: Sequence[ContextTest]) -> None:
        """Tell how many models are to be tested, and what that will cost."""
        self.total = len(tests)
        self._tell(describe(total([test.admission.forecast for test in tests])))

    def take(self, step: Callable[[ContextTest], None], test: ContextTest) -> None:
        """Take one step of a test; what goes wrong with it is a reason to leave it there."""
        key = test.model.key
        if self._is_skipped(key):
            return
        try:
            step(test)
        except (BackendError, RequestError) as error:
            self._skip(key, str(error))
        finally:  # also if the caller has had enough: what was found is to be told
            if test.has_probed:
                self.reports[key] = test.finish()
        report = self.reports.get(key)
        if self._is_skipped(key) or report is None or report.status is not Status.TESTING:
            self._end(key)

    def result(self, tests: Sequence[ContextTest]) -> ReportList:
        """Return the reports there are, in the order of `tests`."""
        keys = [test.model.key for test in tests]
        return ReportList(
            reports=tuple(self.reports[key] for key in keys if key in self.reports),
            skipped=tuple(self.skipped),
        )

    def _test(self, model: Model) -> ContextTest:
        wanted, declared = self.plan.context, model.declared_context
        if is_embedding(model):
            raise RequestError("it makes embeddings, and generates no text")
        if wanted is not None and declared is not None and declared < wanted:
            raise RequestError(f"it declares {declared:,} tokens")
        test = ContextTest(model, self.plan, self.bench)
        if test.is_done_already and not self.plan.reset:
            raise RequestError(TESTED_BEFORE)
        return test

    def _is_skipped(self, key: str) -> bool:
        return any(skipped.model == key for skipped in self.skipped)

    def _end(self, key: str) -> None:
        if key not in self.done:
            self.done.add(key)
            self._tell("the rest goes on" if len(self.done) < self.total else "that was all")

    def _tell(self, message: str) -> None:
        done, total = len(self.done), self.total
        message = f"{done} of {total} models done: {message}"
        self.bench.on_event(Event(kind="finished", done=done, total=total, message=message))

    def _skip(self, key: str, reason: str) -> None:
        self.skipped.append(Skipped(model=key, reason=reason))
        self.bench.on_event(Event(kind="noted", model=key, message=f"{key} is skipped: {reason}"))
