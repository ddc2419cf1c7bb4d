"""A probe ends in the outcome that happened, and leaves nothing loaded."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from lmstrix.engine.events import ignore
from lmstrix.engine.filler import Document
from lmstrix.engine.probing import Trial, Tried, run_probe
from lmstrix.engine.questions import OwnQuestion
from lmstrix.engine.recall import recall_limit
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.testing.backend import DECODE_TPS, PREFILL_TPS
from lmstrix.testing.model import recite
from lmstrix.values import Event, LoadConfig, Outcome, Probe, Proof

CONTEXT = 4_096
DOCUMENTS: tuple[Document, ...] = ("prose", "code", "technical")


def probe_of(  # a shorthand: what a test varies is an option
    fake: FakeModel,
    proof: Proof = Proof.FILL,
    *,
    context: int = CONTEXT,
    **options: Any,
) -> tuple[Tried, FakeBackend]:
    """Probe `fake` once; return the end, and the backend it was made on."""
    backend = FakeBackend(fake)
    [model] = backend.list_models()
    trial = Trial(
        **{
            "model": model,
            "config": LoadConfig(),
            "budget_bytes": None,
            "timeout_s": 60,
            "stall_s": 30,
            **options,
        }
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


@pytest.mark.parametrize("proof", list(Proof))
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
    assert forms == [True, True, *[False] * 5]


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

    prompts = [call.prompt for call in backend.calls if call.prompt]
    assert len(set(prompts)) == len(prompts) == 4


def prompts(backend: FakeBackend) -> list[str]:
    """Return the prompts that the backend was given, in order."""
    return [call.prompt.text for call in backend.calls if call.prompt]


@pytest.mark.parametrize("context", [4_096, 8_192, 40_000])
@pytest.mark.parametrize("document", ["prose", "code", "technical"])
def test_window_is_prefilled_once_for_all_its_stairs(context: int, document: Document) -> None:
    """A staircase is as cheap as its last stair, or nobody would climb it."""
    tried, backend = probe_of(FakeModel(), context=context, document=document)

    stairs = tried.probe.stairs
    assert tried.probe.passed
    assert tried.probe.prefilled_tokens < 1.1 * context
    assert 750 <= stairs[0].depth < 1_600
    assert [round(two.depth / one.depth, 1) for one, two in pairwise(stairs)] == pytest.approx(
        [2.0] * (len(stairs) - 1), abs=0.2
    )
    climbed = prompts(backend)[-len(stairs) :]
    for one, two in pairwise(climbed):
        assert two.startswith(one.rsplit("\n\n", 1)[0].removesuffix("\n\nQuestion"))


@pytest.mark.parametrize("proof", [Proof.FILL, Proof.RECALL])
def test_window_is_filled_with_the_document_that_was_chosen(proof: Proof) -> None:
    """Code takes other tokens than prose; who works on code wants its window tested with code."""
    texts = {
        kind: prompts(probe_of(FakeModel(), proof, document=kind)[1])[-1] for kind in DOCUMENTS
    }

    assert [kind for kind, text in texts.items() if "\ndef " in text] == ["code"]
    assert [kind for kind, text in texts.items() if "\n## " in text] == ["technical"]


def test_stairs_tell_speed_memory_and_the_wait_for_a_cold_prompt() -> None:
    """What a user waits for is the whole prompt, though the cache held half of it."""
    fake = FakeModel()
    tried, _ = probe_of(fake)

    probe, last = tried.probe, tried.probe.stairs[-1]
    assert last.depth == probe.prompt_tokens
    assert last.memory_bytes == fake.memory_bytes(CONTEXT)
    assert (last.prefill_tps, last.decode_tps) == (PREFILL_TPS, DECODE_TPS)
    assert last.ttft_s == pytest.approx(sum(stair.prefilled for stair in probe.stairs) / 1_000)
    assert probe.ttft_s == last.ttft_s
    assert probe.prefill_tps == pytest.approx(last.depth / (last.ttft_s or 1))


def test_window_of_two_wrong_answers_is_refuted_for_certain() -> None:
    """Both facts stand in its last fiftieth, and a short question was answered in between."""
    tried, _ = probe_of(FakeModel(understands=3_000))

    assert (tried.probe.outcome, tried.probe.confirmed) == (Outcome.WRONG_ANSWER, True)


def test_short_question_failing_is_no_confirmed_failure() -> None:
    """Nothing worked in that load: it may be the load."""
    tried, _ = probe_of(FakeModel(reply=lambda _: "It is 12."))

    assert (tried.probe.outcome, tried.probe.confirmed) == (Outcome.WRONG_ANSWER, False)


def test_second_fact_beside_the_first_saves_a_window() -> None:
    """One bad sample is no evidence."""
    missed: list[str] = []

    def stumble(text: str) -> str:
        if len(text) > 12_000 and not missed:
            missed.append(text)
            return " It is 12."
        return recite(text)

    tried, backend = probe_of(FakeModel(reply=stumble))

    assert missed
    assert tried.probe.passed
    one, two = prompts(backend)[-2:]
    assert one != two
    assert one[:12_000] == two[:12_000]


def test_wrong_answer_halfway_up_does_not_fail_a_window() -> None:
    """The window is what is tested; the stairs are on the way."""

    def stumble(text: str) -> str:
        return " It is 12." if 4_000 < len(text) < 12_000 else recite(text)

    tried, _ = probe_of(FakeModel(reply=stumble))

    assert tried.probe.passed


def test_truncation_halfway_up_ends_the_climb() -> None:
    """What does not hold 2 000 tokens need not be asked to hold 4 000."""
    tried, _ = probe_of(FakeModel(sees=1_500))

    assert tried.probe.outcome is Outcome.TRUNCATED
    assert [stair.depth for stair in tried.probe.stairs][-1] == 1_500
    assert len(tried.probe.stairs) == 2


@pytest.mark.parametrize("proof", [Proof.FILL, Proof.RECALL])
def test_stairs_outlive_a_crash_further_up(proof: Proof) -> None:
    """What was measured is kept, whatever came of it."""
    tried, _ = probe_of(FakeModel(holds=3_000), proof)

    assert tried.probe.outcome is Outcome.CRASHED
    assert [stair.depth // 1_000 for stair in tried.probe.stairs] == [1, 2]
    assert tried.probe.prompt_tokens == tried.probe.stairs[-1].depth


@pytest.mark.parametrize("document", ["prose", "code", "technical"])
@pytest.mark.parametrize("chat_template", [True, False])
def test_perfect_reader_finds_eight_facts_at_every_depth(
    document: Document, *, chat_template: bool
) -> None:
    """They are told within the first and the last fiftieth, and at each seventh between."""
    tried, _ = probe_of(
        FakeModel(chat_template=chat_template), Proof.RECALL, context=8_192, document=document
    )

    assert tried.probe.passed
    form = "by chat" if chat_template else "raw"
    assert tried.probe.detail == f"baseline: 8 of 8 facts found {form}"
    assert len(tried.probe.stairs) == 4
    for stair in tried.probe.stairs:
        assert stair.recall
        assert (stair.recall.asked, stair.recall.found) == (8, 8)
        assert stair.recall.positions == pytest.approx([n / 7 for n in range(8)], abs=0.05)
        assert stair.recall.positions[0] < 0.025
        assert stair.recall.positions[-1] > 0.98
    assert tried.probe.recall == tried.probe.stairs[-1].recall


def test_forgetful_model_fills_its_window_and_loses_what_is_far_behind() -> None:
    """Filling and finding are two things: the limits differ, and the window is read to its end."""
    tried, _ = probe_of(FakeModel(remembers=1_200), Proof.RECALL, context=8_192)

    found = [stair.recall.found for stair in tried.probe.stairs if stair.recall]
    assert tried.probe.passed
    assert found[0] == 8
    assert found == sorted(found, reverse=True)
    assert 1 <= found[-1] <= 2
    assert recall_limit(tried.probe.stairs) == tried.probe.stairs[0].depth
    assert "8 of 8 at" in (tried.probe.detail or "")


def test_failing_depth_is_asked_again_for_the_facts_beside() -> None:
    """One bad sample of eight is common; the better one counts."""
    wrong: set[str] = set()

    def stumble(text: str) -> str:
        if 5_500 < len(text) < 12_000 and len(wrong) < 5:
            wrong.add(text)
            return " It is 12."
        return recite(text)

    tried, _ = probe_of(FakeModel(reply=stumble), Proof.RECALL)

    assert len(wrong) == 5
    assert [stair.recall.found for stair in tried.probe.stairs if stair.recall] == [8, 8, 8]


def test_better_score_of_a_depth_is_kept() -> None:
    """Asking again is a second chance, and no trap."""
    heard: dict[int, int] = {}

    def tire(text: str) -> str:
        depth = len(text) // 3_000
        heard[depth] = heard.get(depth, 0) + 1
        return recite(text) if depth < 2 or heard[depth] <= 4 else " It is 12."

    tried, _ = probe_of(FakeModel(reply=tire), Proof.RECALL)

    assert [stair.recall.found for stair in tried.probe.stairs if stair.recall] == [8, 4, 4]


def test_recall_is_tried_raw_where_it_fails_by_chat() -> None:
    """A weak chat model may follow text that it would not follow through its template."""

    def weak(text: str) -> str:
        return recite(text) if len(text) < 1_000 or text.endswith(" is") else " It is 12."

    tried, backend = probe_of(FakeModel(reply=weak), Proof.RECALL)

    assert tried.probe.passed
    assert tried.probe.recall
    assert tried.probe.recall.found == 8
    climbed = [call.prompt for call in backend.calls if call.prompt and len(call.prompt.text) > 999]
    assert [prompt.chat for prompt in climbed] == [True] * 8 + [False] * 24


def test_recall_that_cannot_be_measured_is_no_verdict_and_cheap() -> None:
    """It says something about the model, and nothing about the window."""
    short = FakeModel(reply=lambda text: recite(text) if len(text) < 1_000 else " It is 12.")

    tried, _ = probe_of(short, Proof.RECALL, context=40_000)

    assert tried.probe.outcome is Outcome.UNKNOWN
    detail = tried.probe.detail or ""
    assert detail.startswith("recall cannot be measured: 0 of 8 facts found by chat, 0 of 8 ")
    assert tried.probe.prefilled_tokens < 3_000
    assert recall_limit(tried.probe.stairs) is None


@pytest.mark.parametrize("proof", list(Proof))
def test_suffering_machine_stops_the_probe(proof: Proof) -> None:
    """The machine comes first; nothing stays loaded, and it is said who stopped it."""
    ticks = iter([None, None, *["swap is full"] * 10])
    tried, _ = probe_of(FakeModel(), proof, watch=lambda: next(ticks))

    assert tried.probe.outcome is Outcome.OUT_OF_MEMORY
    assert tried.probe.detail == "stopped by LMStrix: swap is full"


def test_machine_that_suffers_while_reading_keeps_the_stairs() -> None:
    """The last depth that was read in peace is what one wants to know."""
    backend = FakeBackend()
    trial = Trial(
        model=backend.list_models()[0],
        config=LoadConfig(),
        budget_bytes=None,
        timeout_s=60,
        stall_s=30,
        watch=lambda: "pressure" if len(prompts(backend)) > 4 else None,
    )
    probe = Probe(model="fake", requested=CONTEXT, proof=Proof.FILL, started_at=backend.clock.now())

    ended = run_probe(probe, trial, backend=backend, clock=backend.clock, on_event=ignore).probe

    assert ended.outcome is Outcome.OUT_OF_MEMORY
    assert len(ended.stairs) == 2
    assert backend.loaded() == []


@pytest.mark.parametrize(("answer", "right"), [("It is Paris.", True), ("It is Parisian.", False)])
@pytest.mark.parametrize("chat_template", [True, False])
@pytest.mark.parametrize("proof", [Proof.ANSWER, Proof.FILL])
def test_users_own_question_decides(
    proof: Proof, answer: str, *, right: bool, chat_template: bool
) -> None:
    """What the user cares about is whether the model still knows, in a full window."""
    fake = FakeModel(chat_template=chat_template, reply=lambda _: answer)
    question = OwnQuestion(text="What is the capital of France?", expect="paris")

    tried, backend = probe_of(fake, proof, question=question)

    assert tried.probe.passed == right
    assert all(text.endswith(question.text) for text in prompts(backend))
    assert {call.prompt.chat for call in backend.calls if call.prompt} == {chat_template}
    if right and proof is Proof.FILL:
        assert CONTEXT - 300 < (tried.probe.prompt_tokens or 0) < CONTEXT


def test_own_question_is_not_asked_for_recall() -> None:
    """Recall is about facts that only this text can have told."""
    question = OwnQuestion(text="What is the capital of France?", expect="Paris")

    tried, backend = probe_of(FakeModel(), Proof.RECALL, question=question)

    assert tried.probe.passed
    assert not any(question.text in text for text in prompts(backend))


@pytest.mark.parametrize(("right", "outcome"), [(2, Outcome.PASSED), (1, Outcome.WRONG_ANSWER)])
def test_two_of_three_short_questions_decide(right: int, outcome: Outcome) -> None:
    """A weak model stumbles now and then; a broken one never finds two codes of seven digits."""
    asked: list[str] = []

    def stumble(text: str) -> str:
        asked.append(text)
        return recite(text) if len(asked) in {1, 3}.intersection(range(1, 2 * right)) else " No."

    tried, _ = probe_of(FakeModel(reply=stumble, chat_template=False), Proof.ANSWER)

    assert tried.probe.outcome is outcome
    assert len(asked) == 3
