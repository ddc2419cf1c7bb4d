"""A prompt is answered in a context that holds it, with as few loads as can be."""

from typing import Any

import pytest

from engine.benches import Bench, Stop, stop_after
from lmstrix.errors import (
    ContextTooLongError,
    GenerationError,
    LMStrixError,
    ModelLoadError,
    RequestError,
)
from lmstrix.testing import FakeModel
from lmstrix.values import Event, Outcome

QUESTION = "The access code of the sea is 1234567. What is the access code of the sea?"
CHATTY = FakeModel(reply=lambda _: " word" * 3_000)


def words(count: int) -> str:
    """Return a prompt of that many tokens, for the fake."""
    return " word" * count


def loads(bench: Bench) -> list[int | None]:
    """Return the contexts that were asked for, in order."""
    return [call.request.context for call in bench.backend.calls if call.request]


@pytest.mark.parametrize("prompt", ["", " \n\t "])
def test_empty_prompt_is_refused_before_anything_is_loaded(prompt: str) -> None:
    """A script's empty pipe would cost minutes of invented text."""
    bench = Bench()

    with pytest.raises(RequestError, match="empty"):
        bench.infer(prompt)

    assert loads(bench) == []


def test_answer_comes_with_its_context_and_its_figures() -> None:
    """They tell the caller what was really done."""
    answer = Bench().infer(QUESTION, in_ctx=8_192)

    assert answer.text == " 1234567."
    assert (answer.requested_context, answer.effective_context) == (8_192, 8_192)
    assert (answer.reused, answer.load_s) == (False, 2.0)
    assert (answer.stop_reason, answer.truncated, answer.warnings) == ("stop", False, ())
    assert answer.prompt_tokens
    assert answer.completion_tokens
    assert answer.decode_tps
    assert answer.infer_s > 0


def test_second_prompt_reuses_the_copy_of_the_first() -> None:
    """Loading again would cost seconds to minutes for nothing."""
    bench = Bench()
    bench.infer(QUESTION)

    answer = bench.infer(QUESTION)

    assert (answer.reused, answer.load_s, answer.effective_context) == (True, None, 4_096)
    assert loads(bench) == [4_096]


def test_reload_unloads_our_own_copy_first() -> None:
    """Two copies of one model may not fit, and nobody asked for two."""
    bench = Bench()
    bench.infer(QUESTION)
    bench.infer(QUESTION, in_ctx=8_192)

    names = [call.name for call in bench.backend.calls]
    assert names == ["load", "complete", "unload", "load", "complete"]
    assert [copy.context for _, copy in bench.backend.loaded()] == [8_192]


def test_copy_of_somebody_else_is_used_and_never_unloaded() -> None:
    """Another program may be in the middle of a conversation with it."""
    bench = Bench()
    theirs = bench.backend.preload("fake", 4_096)

    assert bench.infer(QUESTION).reused
    assert not bench.infer(QUESTION, in_ctx=8_192).reused
    assert theirs.identifier in [copy.identifier for _, copy in bench.backend.loaded()]


def test_copies_of_other_models_are_left_alone() -> None:
    """Only the model that was asked for may answer, and only it is ours to reload."""
    bench = Bench()
    bench.backend._models["other"] = FakeModel(key="other")
    bench.backend.preload("other", 65_536)

    assert not bench.infer(QUESTION).reused


def test_forced_reload_loads_anew() -> None:
    """What the user says goes before what would be quicker."""
    bench = Bench()
    bench.infer(QUESTION)

    assert not bench.infer(QUESTION, force_reload=True).reused
    assert len(bench.backend.loaded()) == 1


def test_runtime_chooses_the_context_if_told_to() -> None:
    """0 respects the user's settings in LM Studio; the effective context says what came of it."""
    answer = Bench(FakeModel(default_context=2_048)).infer(QUESTION, in_ctx=0)

    assert (answer.requested_context, answer.effective_context) == (None, 2_048)


def test_context_chosen_holds_a_long_prompt_and_its_answer() -> None:
    """Nobody should have to count tokens to ask a question."""
    answer = Bench().infer(words(10_000), out_ctx=500)

    assert answer.effective_context >= 10_500
    assert not answer.warnings


def test_prompt_with_more_tokens_than_guessed_is_loaded_again_once() -> None:
    """Before the load, tokens are guessed from bytes; digits and symbols have more of them."""
    bench = Bench()

    answer = bench.infer("+" * 9_000)

    assert loads(bench) == [4_096, 10_240]
    assert answer.effective_context == 10_240
    assert len(bench.backend.loaded()) == 1


def test_prompt_beyond_the_measured_limit_is_refused_before_it_is_sent() -> None:
    """A runtime would cut it in silence, and answer to half of it."""
    bench = Bench()
    bench.test(context=4_096)

    with pytest.raises(ContextTooLongError) as refusal:
        bench.infer(words(5_000))

    assert (refusal.value.needed, refusal.value.available) == (5_008, 4_096)
    assert all("word word" not in call.prompt.text for call in bench.backend.calls if call.prompt)


def test_prompt_beyond_an_explicit_context_is_refused_with_a_context_that_holds_it() -> None:
    """The user said how much; to load more unasked could take memory that is needed elsewhere."""
    bench = Bench()

    with pytest.raises(ContextTooLongError) as refusal:
        bench.infer(words(5_000), in_ctx=4_096)

    assert loads(bench) == [4_096]
    assert "--in_ctx 5120" in (refusal.value.hint or "")
    assert bench.infer(words(5_000), in_ctx=5_120).effective_context == 5_120


def test_answer_is_cut_to_the_room_the_window_has_left() -> None:
    """Beyond the window a runtime shifts the context, and forgets the prompt."""
    bench = Bench(CHATTY)

    answer = bench.infer(words(4_000), in_ctx=4_096, out_ctx=500)

    sampled = [call.sampling.max_tokens for call in bench.backend.calls if call.sampling]
    assert sampled == [4_096 - 4_007]
    assert answer.truncated
    assert "89 tokens left for an answer of 500" in answer.warnings[0]


@pytest.mark.parametrize(("out_ctx", "most"), [(None, 1_024), (8, 8), ("25%", 2_048)])
def test_answer_is_as_long_as_was_asked_for_at_most(out_ctx: int | str | None, most: int) -> None:
    """A share is of the context that was really loaded."""
    answer = Bench(CHATTY).infer("Go on.", in_ctx=8_192, out_ctx=out_ctx)

    assert (answer.completion_tokens, answer.stop_reason) == (most, "length")
    assert answer.truncated
    assert answer.warnings == ()


@pytest.mark.parametrize(
    ("chat_template", "raw", "chat"),
    [(True, None, True), (False, None, False), (True, True, False), (False, False, True)],
)
def test_prompt_goes_through_the_template_the_model_brings(
    chat_template: bool,  # noqa: FBT001 - a column of the table
    raw: bool | None,  # noqa: FBT001 - as above
    chat: bool,  # noqa: FBT001 - as above
) -> None:
    """A chat model answers oddly without its template, a base model with one."""
    bench = Bench(FakeModel(chat_template=chat_template))

    bench.infer("Hello", system="Be brief.", raw=raw)

    [prompt] = [call.prompt for call in bench.backend.calls if call.prompt]
    assert (prompt.text, prompt.system, prompt.chat) == ("Hello", "Be brief.", chat)


def test_sampling_reaches_the_runtime_as_it_was_said() -> None:
    """An option that is dropped in silence is worse than none."""
    bench = Bench()
    options: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "min_p": 0.1,
        "repeat_penalty": 1.2,
        "seed": 3,
        "stop": ("\n",),
    }

    bench.infer(QUESTION, budget_bytes=8 << 30, timeout_s=9, **options)

    load, ask = bench.backend.calls
    assert load.request
    assert (load.request.budget_bytes, load.request.timeout_s) == (8 << 30, 9)
    assert {name: getattr(ask.sampling, name) for name in options} == options


def test_context_above_what_was_tested_is_answered_with_a_warning() -> None:
    """The user may try; the answer says that nobody has before."""
    bench = Bench()
    bench.test(context=4_096)

    assert "4,096" in bench.infer(QUESTION, in_ctx=8_192).warnings[0]


def test_runtime_that_loads_less_than_asked_is_named() -> None:
    """Runtimes resize in silence; we don't."""
    answer = Bench(FakeModel(resizes_to=2_048)).infer(QUESTION, in_ctx=8_192)

    assert (answer.requested_context, answer.effective_context) == (8_192, 2_048)
    assert "2,048" in answer.warnings[0]


def test_runtime_that_reads_less_than_was_sent_is_named() -> None:
    """The answer is then one to half a question."""
    answer = Bench(FakeModel(sees=1_000)).infer(words(2_000))

    assert any("read 1,000" in warning for warning in answer.warnings)


def test_caller_hears_what_the_status_lines_say() -> None:
    """The lines are in the contract; scripts may read them."""
    bench = Bench()
    first: list[Event] = []
    second: list[Event] = []

    bench.infer(QUESTION, in_ctx=8_192, on_event=first.append)
    bench.infer(QUESTION, in_ctx=8_192, on_event=second.append)

    assert [event.message for event in first if event.message] == [
        "Loading fake at context 8192... (explicit --in_ctx)",
        "Model loaded in 2.0s",
        "Running inference...",
        "Inference completed in 0.1s (5 tokens, 50.0 tok/s)",
    ]
    assert [event.message for event in second if event.message] == [
        "Reusing fake, already loaded at context 8192",
        "Running inference...",
        "Inference completed in 0.1s (5 tokens, 50.0 tok/s)",
    ]
    assert "".join(event.text or "" for event in first) == " 1234567."


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_stop_at_any_event_propagates_and_leaves_at_most_one_copy(
    error: type[BaseException],
) -> None:
    """Whoever stops an answer gets back at once; the copy stays for the next prompt."""
    events: list[Event] = []
    Bench().infer("+" * 9_000, on_event=events.append)

    for count in range(len(events)):
        bench = Bench()
        with pytest.raises(error):
            bench.infer("+" * 9_000, on_event=stop_after(count, error))

        assert len(bench.backend.loaded()) <= 1
        assert bench.infer(QUESTION).text == " 1234567."
        assert len(bench.backend.loaded()) == 1


@pytest.mark.parametrize(
    ("fake", "error"),
    [
        (FakeModel(fails_load={4_096: Outcome.OUT_OF_MEMORY}), ModelLoadError),
        (FakeModel(fails_answer={4_096: Outcome.CRASHED}), GenerationError),
    ],
)
def test_failure_of_the_runtime_is_the_callers_to_see(
    fake: FakeModel, error: type[LMStrixError]
) -> None:
    """In a test a failure is information; to who wants an answer it is an error."""
    with pytest.raises(error):
        Bench(fake).infer(QUESTION)


@pytest.mark.parametrize("wish", [{"out_ctx": 0}, {"in_ctx": -1}, {"in_ctx": 200_000}])
def test_wish_that_cannot_be_granted_is_refused_before_anything_is_loaded(
    wish: dict[str, Any],
) -> None:
    """A slip must not cost a load."""
    bench = Bench()

    with pytest.raises(RequestError):
        bench.infer(QUESTION, **wish)

    assert bench.backend.calls == []
