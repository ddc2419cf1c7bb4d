"""A probe ends in the outcome that happened, and leaves nothing loaded."""

from dataclasses import replace

import pytest

from lmstrix.engine.events import ignore
from lmstrix.engine.probing import Trial, Tried, run_probe
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.values import Event, LoadConfig, Outcome, Probe, Proof

CONTEXT = 4_096


def probe_of(
    fake: FakeModel,
    proof: Proof = Proof.FILL,
    *,
    context: int = CONTEXT,
    budget_bytes: int | None = None,
) -> tuple[Tried, FakeBackend]:
    """Probe `fake` once; return the end, and the backend it was made on."""
    backend = FakeBackend(fake)
    [model] = backend.list_models()
    trial = Trial(
        model=model, config=LoadConfig(), budget_bytes=budget_bytes, timeout_s=60, stall_s=30
    )
    opened = Probe(
        id=7, model=model.key, requested=context, proof=proof, started_at=backend.clock.now()
    )
    tried = run_probe(opened, trial, backend=backend, clock=backend.clock, on_event=ignore)
    assert backend.loaded() == []
    return tried, backend


def outcome_of(fake: FakeModel, proof: Proof = Proof.FILL, **options: int) -> Outcome | None:
    """Return how a probe of `fake` ends."""
    return probe_of(fake, proof, **options)[0].probe.outcome


def only_raw(text: str) -> str:
    """Answer as a base model does: nonsense, where an answer is not begun for it."""
    right = FakeModel().reply(text)
    return "Well, 3 things come to mind." if "Answer with the code alone" in text else right


@pytest.mark.parametrize("proof", [Proof.LOAD, Proof.ANSWER, Proof.FILL])
@pytest.mark.parametrize("chat_template", [True, False])
def test_sound_model_passes_every_proof(proof: Proof, *, chat_template: bool) -> None:
    """The probe can be passed at all, by chat models and base models."""
    fake = FakeModel(chat_template=chat_template)

    tried, _ = probe_of(fake, proof)

    assert tried.probe.passed
    assert tried.probe.effective == CONTEXT
    assert tried.probe.memory_bytes == fake.memory_bytes(CONTEXT)
    assert tried.probe.load_s
    assert tried.probe.ended_at
    assert (tried.probe.prefill_tps is None) == (proof is Proof.LOAD)


def test_fill_pushes_a_whole_window_through_the_model() -> None:
    """It is what tells it from `answer`: all but the answer's room is read."""
    answered, _ = probe_of(FakeModel(), Proof.ANSWER)
    filled, _ = probe_of(FakeModel(), Proof.FILL)

    assert answered.probe.prompt_tokens
    assert answered.probe.prompt_tokens < 200
    assert filled.probe.prompt_tokens
    assert CONTEXT - 100 < filled.probe.prompt_tokens < CONTEXT


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.PASSED])
@pytest.mark.parametrize("proof", [Proof.LOAD, Proof.ANSWER, Proof.FILL])
def test_failed_load_ends_in_the_runtimes_outcome(outcome: Outcome, proof: Proof) -> None:
    """The classes of failure mean different things; the runtime knows which it was."""
    tried, _ = probe_of(FakeModel(fails_load={CONTEXT: outcome}), proof)

    assert tried.probe.outcome is outcome
    assert tried.probe.detail
    assert tried.probe.effective is None
    assert (tried.lost is not None) == (outcome is Outcome.UNAVAILABLE)


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome.OUT_OF_MEMORY,
        Outcome.CRASHED,
        Outcome.TIMED_OUT,
        Outcome.NO_ANSWER,
        Outcome.WRONG_ANSWER,
        Outcome.UNAVAILABLE,
        Outcome.UNKNOWN,
    ],
)
@pytest.mark.parametrize("proof", [Proof.ANSWER, Proof.FILL])
def test_failed_answer_ends_in_its_outcome_and_keeps_what_was_loaded(
    outcome: Outcome, proof: Proof
) -> None:
    """That it loaded is evidence too."""
    tried, _ = probe_of(FakeModel(fails_answer={CONTEXT: outcome}), proof)

    assert tried.probe.outcome is outcome
    assert tried.probe.effective == CONTEXT
    assert (tried.lost is not None) == (outcome is Outcome.UNAVAILABLE)


def test_load_alone_asks_nothing() -> None:
    """A search of many loads is cheap only as long as none of them generates."""
    _, backend = probe_of(FakeModel(fails_answer={CONTEXT: Outcome.CRASHED}), Proof.LOAD)

    assert [call.name for call in backend.calls] == ["load", "unload"]


def test_load_gets_exactly_what_was_asked_for() -> None:
    """The budget is what keeps a probe from taking the machine down."""
    _, backend = probe_of(FakeModel(), Proof.LOAD, budget_bytes=8 << 30)

    request = backend.calls[0].request
    assert request
    assert (request.context, request.budget_bytes, request.timeout_s) == (CONTEXT, 8 << 30, 60)


@pytest.mark.parametrize(
    ("fake", "outcome", "effective"),
    [
        (FakeModel(resizes_to=2_048), Outcome.RESIZED, 2_048),
        (FakeModel(rounds_to=8_192), Outcome.RESIZED, 8_192),
        (FakeModel(rounds_to=256), Outcome.PASSED, 4_096),
    ],
)
def test_resized_context_is_no_pass(fake: FakeModel, outcome: Outcome, effective: int) -> None:
    """Runtimes resize and report success; only what was really loaded is evidence."""
    tried, _ = probe_of(fake)

    assert (tried.probe.outcome, tried.probe.effective) == (outcome, effective)


def test_rounding_up_is_not_resizing_and_the_whole_of_it_is_filled() -> None:
    """llama.cpp rounds 5000 up to 5120, and a pass is claimed for what it loaded."""
    tried, _ = probe_of(FakeModel(rounds_to=256), context=5_000)

    assert (tried.probe.outcome, tried.probe.effective) == (Outcome.PASSED, 5_120)
    assert (tried.probe.prompt_tokens or 0) > 5_000


def test_window_above_the_declared_context_is_not_filled() -> None:
    """Rounding makes the window larger than the model was made for; what is in it must not be."""
    tried, _ = probe_of(FakeModel(declared=5_000, rounds_to=256, understands=5_000), context=5_000)

    assert tried.probe.passed


def test_longest_prompt_that_crashes_is_found_by_filling_alone() -> None:
    """A short question passes where a full window kills the engine."""
    assert outcome_of(FakeModel(holds=3_000), Proof.ANSWER) is Outcome.PASSED
    assert outcome_of(FakeModel(holds=3_000), Proof.FILL) is Outcome.CRASHED


def test_silent_truncation_is_not_passed_though_the_answer_is_right() -> None:
    """The fact is near the end, so a runtime that drops the beginning still answers it."""
    tried, _ = probe_of(FakeModel(sees=3_000))

    assert tried.probe.outcome is Outcome.TRUNCATED
    assert "3,000 read" in (tried.probe.detail or "")


def test_fill_is_unknown_if_the_runtime_does_not_count() -> None:
    """Without its count a cut cannot be excluded, and what cannot be excluded is not claimed."""
    assert outcome_of(FakeModel(counts_prompt=False)) is Outcome.UNKNOWN
    assert outcome_of(FakeModel(counts_prompt=False), Proof.ANSWER) is Outcome.PASSED


def test_prompt_refused_below_the_context_that_was_reported_is_truncation() -> None:
    """The runtime said 4 096 and takes 3 000: its context is smaller than it says."""
    assert outcome_of(FakeModel(admits=3_000)) is Outcome.TRUNCATED


def test_context_too_small_for_the_question_decides_nothing() -> None:
    """It says nothing of the model that our question is too long."""
    assert outcome_of(FakeModel(), Proof.ANSWER, context=20) is Outcome.UNKNOWN
    tried, _ = probe_of(FakeModel(), Proof.FILL, context=100)
    assert tried.probe.outcome is Outcome.UNKNOWN
    assert "tokens to fill" in (tried.probe.detail or "")


def test_model_that_answers_only_raw_is_asked_raw() -> None:
    """Some files bring a template that the model was never trained on."""
    tried, backend = probe_of(FakeModel(reply=only_raw))

    assert tried.probe.passed
    forms = [call.prompt.chat for call in backend.calls if call.prompt]
    assert forms == [True, False, False]


def test_wrong_answer_is_kept_in_the_models_own_words() -> None:
    """Who doubts the verdict can read what was said."""
    tried, _ = probe_of(FakeModel(reply=lambda _: "It is 12."))

    assert tried.probe.outcome is Outcome.WRONG_ANSWER
    assert "It is 12." in (tried.probe.detail or "")


def test_temperature_is_nought() -> None:
    """A measurement that is drawn by lot measures the lot."""
    _, backend = probe_of(FakeModel())

    sampled = [call.sampling for call in backend.calls if call.sampling]
    assert {(one.temperature, one.seed) for one in sampled} == {(0.0, 0)}


def test_caller_hears_of_every_phase() -> None:
    """A window may take an hour to read; who waits must see that something happens."""
    backend = FakeBackend()
    [model] = backend.list_models()
    trial = Trial(model=model, config=LoadConfig(), budget_bytes=None, timeout_s=60, stall_s=30)
    probe = Probe(
        model=model.key, requested=CONTEXT, proof=Proof.FILL, started_at=backend.clock.now()
    )
    events: list[Event] = []

    run_probe(probe, trial, backend=backend, clock=backend.clock, on_event=events.append)

    assert {event.kind for event in events} == {"loading", "loaded", "prefill", "decode"}
    assert all(event.context == CONTEXT and event.message for event in events)
    assert any(event.done == event.total != 0 for event in events if event.kind == "prefill")


def test_question_differs_from_probe_to_probe() -> None:
    """A runtime that remembers the last prompt must not answer from memory."""
    backend = FakeBackend()
    [model] = backend.list_models()
    trial = Trial(model=model, config=LoadConfig(), budget_bytes=None, timeout_s=60, stall_s=30)
    first = Probe(
        id=1, model=model.key, requested=256, proof=Proof.ANSWER, started_at=backend.clock.now()
    )
    for number in (1, 2):
        opened = first.model_copy(update={"id": number})
        run_probe(
            opened,
            replace(trial),
            backend=backend,
            clock=backend.clock,
            on_event=ignore,
        )

    one, two = (call.prompt for call in backend.calls if call.prompt)
    assert one != two
