"""What is known of a model is told with how well it fits a load made now."""

from lmstrix import LMStrix
from lmstrix.errors import BackendUnavailableError
from lmstrix.testing import FakeBackend, FakeModel, MemoryRegistry
from lmstrix.values import Evidence, Fingerprint, LoadConfig, Model, Proof, Status

FAKE = FakeModel(declared=8_192)


class Newer(FakeBackend):
    """The same runtime after an update."""

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """Return one that differs in the runtime only."""
        return super().fingerprint(model, config).model_copy(update={"runtime": "fake 2"})


class Gone(FakeBackend):
    """A runtime that cannot be asked any more."""

    def fingerprint(self, model: Model, config: LoadConfig) -> Fingerprint:
        """Fail."""
        raise BackendUnavailableError("gone")


def known(backend: FakeBackend, registry: MemoryRegistry) -> Model:
    """Return the model as `backend` and `registry` tell it."""
    [model] = LMStrix(backend=backend, registry=registry).list_models().models
    return model


def measured() -> MemoryRegistry:
    """Return a registry in which the model was tested."""
    registry = MemoryRegistry()
    strix = LMStrix(backend=FakeBackend(FAKE), registry=registry)
    strix.scan()
    strix.test_context("fake", proof=Proof.ANSWER)
    return registry


def test_limit_is_exact_as_long_as_nothing_changed() -> None:
    """It was measured with what a load would use now."""
    model = known(FakeBackend(FAKE), measured())

    assert model.limits
    assert (model.limits.evidence, model.status) == (Evidence.EXACT, Status.TESTED)


def test_limit_of_another_runtime_is_stale_and_still_told() -> None:
    """An update may have changed it; the old number is the best there is."""
    model = known(Newer(FAKE), measured())

    assert model.limits
    assert (model.limits.evidence, model.status) == (Evidence.STALE, Status.STALE)
    assert model.limits.answered == 8_192


def test_limit_of_a_smaller_budget_is_stale_without_it() -> None:
    """It may well be larger now."""
    registry = measured()
    strix = LMStrix(backend=FakeBackend(FAKE), registry=registry, memory_budget=16 << 30)

    [model] = strix.list_models().models

    assert model.status is Status.STALE


def test_limit_is_told_as_it_is_stored_where_the_runtime_cannot_be_asked() -> None:
    """A list must not fail because a server is down."""
    model = known(Gone(FAKE), measured())

    assert model.limits
    assert model.limits.answered == 8_192
