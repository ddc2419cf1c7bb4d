"""A loaded copy on real llama.cpp: contexts, tokens, text, cancellation."""

import itertools
import urllib.error
import urllib.request

import psutil
import pytest

from backends.engine_calls import GREEDY, RAW, engine_pid, request_for
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.errors import PromptTooLongError, RequestError
from lmstrix.ports import Prompt, Sampling, Tick
from lmstrix.values import LoadConfig, Model


def test_the_effective_context_is_read_back(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """llama.cpp rounds up to a multiple of 256; what counts is what it loaded."""
    copy = backend.load(models["tiny"], request_for(5000))

    assert copy.context == 5120
    [(key, loaded)] = backend.loaded()
    assert (key, loaded.context) == ("tiny", 5120)
    assert backend.attach(loaded.identifier) is copy


def test_without_a_context_the_declared_one_is_loaded(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """`in_ctx 0` leaves the choice to the runtime, and llama.cpp takes the file's word."""
    assert backend.load(models["tiny"], request_for(None)).context == 65_536


def test_the_runtime_counts_the_tokens_we_counted(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A fill is proved by this equality; it has to hold raw, and through the chat template."""
    copy = backend.load(models["tiny"], request_for(4096))

    for prompt in (RAW, Prompt(text="Hello", system="Be brief"), Prompt(text="é☃", chat=False)):
        generation = copy.complete(prompt, GREEDY, stall_s=30)
        assert generation.prompt_tokens == copy.count_tokens(prompt)
        assert generation.completion_tokens == 16
        assert generation.stop_reason == "length"


def test_text_comes_in_ticks_that_add_up(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """Streaming shows exactly what the answer will be, after a prefill that reaches its end."""
    copy = backend.load(models["tiny"], request_for(4096))
    ticks: list[Tick] = []

    generation = copy.complete(RAW, GREEDY, stall_s=30, on_tick=ticks.append)

    assert generation.text.startswith("".join(tick.text for tick in ticks))
    assert len([tick for tick in ticks if tick.text]) > 4
    assert ticks[0].phase == "prefill"


def test_the_same_seed_gives_the_same_text(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """Sampling parameters reach the engine: a seed fixes the text, another changes it."""
    copy = backend.load(models["tiny"], request_for(4096))

    def text(seed: int) -> str:
        sampling = Sampling(max_tokens=24, temperature=1.5, seed=seed)
        return copy.complete(RAW, sampling, stall_s=30).text

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_a_stop_text_ends_the_answer(backend: LlamaCppBackend, models: dict[str, Model]) -> None:
    """A generation that is stopped by text says so, and leaves the text out."""
    copy = backend.load(models["tiny"], request_for(4096))
    whole = copy.complete(RAW, GREEDY, stall_s=30).text

    sampling = Sampling(max_tokens=16, temperature=0.0, seed=1, stop=(whole[4:6],))
    stopped = copy.complete(RAW, sampling, stall_s=30)

    assert stopped.stop_reason == "stop"
    assert whole[4:6] not in stopped.text


def test_an_answer_that_fills_the_window_says_so(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """Cut by the window is another thing than cut by `out_ctx`."""
    copy = backend.load(models["tiny"], request_for(256))

    generation = copy.complete(RAW, Sampling(max_tokens=4000, temperature=0.0), stall_s=30)

    assert generation.stop_reason == "context"
    assert generation.prompt_tokens is not None
    assert generation.completion_tokens is not None
    assert generation.prompt_tokens + generation.completion_tokens >= 256


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """llama.cpp refuses rather than truncates, and we pass its numbers on."""
    copy = backend.load(models["tiny"], request_for(256))
    prompt = Prompt(text="word " * 300, chat=False)

    with pytest.raises(PromptTooLongError) as caught:
        copy.complete(prompt, GREEDY, stall_s=30)

    assert caught.value.prompt_tokens == copy.count_tokens(prompt)
    assert caught.value.context == 256


def test_raising_from_a_tick_cancels_and_keeps_the_copy(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A cancelled answer must not cost the loaded model, nor go on behind our back."""
    copy = backend.load(models["tiny"], request_for(4096))

    class StopItError(Exception):
        pass

    def stop_at_text(tick: Tick) -> None:
        if tick.text:
            raise StopItError

    with pytest.raises(StopItError):
        copy.complete(RAW, Sampling(max_tokens=3500), stall_s=30, on_tick=stop_at_text)

    assert copy.complete(RAW, GREEDY, stall_s=30).completion_tokens == 16


def test_unloading_ends_the_process_and_may_be_repeated(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """After unloading there is no process, no listing and no way to attach."""
    copy = backend.load(models["tiny"], request_for(4096))
    pid = engine_pid(copy.identifier)
    assert psutil.pid_exists(pid)

    copy.unload()
    copy.unload()

    assert not psutil.pid_exists(pid)
    assert backend.loaded() == []
    assert backend.attach(copy.identifier) is None


def test_the_engine_answers_nobody_without_its_key(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """Its port is open to every user of the machine; its key is not."""
    copy = backend.load(models["tiny"], request_for(256))
    [connection] = [
        c
        for c in psutil.Process(engine_pid(copy.identifier)).net_connections()
        if c.status == psutil.CONN_LISTEN
    ]
    assert connection.laddr.ip == "127.0.0.1"

    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://127.0.0.1:{connection.laddr.port}/slots", timeout=10)


def test_an_unknown_kv_type_is_refused_by_name(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A misspelt type must not load with the default one."""
    with pytest.raises(RequestError, match="q9_0"):
        backend.load(models["tiny"], request_for(256, kv_type="q9_0"))
    with pytest.raises(RequestError, match="q9_0"):  # before a probe is written
        backend.fingerprint(models["tiny"], LoadConfig(kv_type="q9_0"))


def test_a_smaller_kv_type_takes_less_memory(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """The KV type asked for is the one that is loaded: q8_0 takes 34/64 of f16."""
    taken = {}
    for kind in ("f16", "q8_0"):
        copy = backend.load(models["heavy"], request_for(16_384, kv_type=kind))
        taken[kind] = copy.memory_bytes() or 0
        copy.unload()

    saved = taken["f16"] - taken["q8_0"]
    assert saved == pytest.approx(16_384 * 32_768 * 30 / 64, rel=0.05)


def test_memory_grows_by_the_bytes_a_token_takes(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """The reading is what predictions stand on: KV cache, plus 1 KiB a token of attention mask."""
    taken = []
    for context in (8_192, 16_384, 24_576):
        copy = backend.load(models["heavy"], request_for(context))
        taken.append(copy.memory_bytes() or 0)
        copy.unload()

    slopes = [(b - a) / 8_192 for a, b in itertools.pairwise(taken)]
    assert slopes == pytest.approx([33.0 * 1024] * 2, rel=0.03)
