"""How an engine process ends, and what we make of it: on real llama.cpp, with real signals."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from backends.engine_calls import GREEDY, RAW, engine_pid, request_for
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.failures import classify, last_words
from lmstrix.backends.llamacpp.loaded_copy import refusal
from lmstrix.backends.llamacpp.packaged import assemble_demo_model
from lmstrix.backends.llamacpp.wire import RefusedError
from lmstrix.errors import BackendUnavailableError, GenerationError, ModelLoadError
from lmstrix.ports import LoadRequest, Sampling, Tick
from lmstrix.values import LoadConfig, Model, Outcome

MIB = 2**20


def kill(pid: int, number: signal.Signals) -> None:
    """Send a signal to an engine process that this test started."""
    os.kill(pid, number)


def test_a_budget_that_binds_refuses_the_load_in_the_engines_own_words(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """32 KiB a token at 32 768 tokens is 1 GiB: far over the budget, refused by the kernel."""
    with pytest.raises(ModelLoadError) as caught:
        backend.load(models["heavy"], request_for(32_768, budget=400 * MIB))

    assert caught.value.outcome == Outcome.OUT_OF_MEMORY
    assert "allocate" in caught.value.detail
    assert backend.loaded() == []


def test_what_fits_the_budget_loads_within_it(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """The budget is compared with what we measure, so a load that passed has kept to it."""
    copy = backend.load(models["heavy"], request_for(4_096, budget=400 * MIB))

    assert 128 * MIB < (copy.memory_bytes() or 0) <= 400 * MIB


def test_every_size_near_the_limit_is_loaded_or_out_of_memory(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """Close to its budget the engine fails in violent ways too; none may pass for anything else."""
    outcomes = set()
    for context in range(6_144, 13_312, 1_024):
        try:
            backend.load(models["heavy"], request_for(context, budget=400 * MIB)).unload()
            outcomes.add(Outcome.PASSED)
        except ModelLoadError as error:
            outcomes.add(Outcome(error.outcome))

    assert outcomes == {Outcome.PASSED, Outcome.OUT_OF_MEMORY}


def test_weights_over_the_budget_are_refused_before_anything_starts(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """No context helps a model whose weights alone are too large."""
    with pytest.raises(ModelLoadError, match="weights") as caught:
        backend.load(models["heavy"], request_for(256, budget=MIB))

    assert caught.value.outcome == Outcome.OUT_OF_MEMORY


def test_a_file_that_is_gone_is_told_as_such(
    backend: LlamaCppBackend, models: dict[str, Model], folder: Path
) -> None:
    """The engine would only say that it failed to load."""
    (folder / "tiny-f16.gguf").unlink()

    with pytest.raises(ModelLoadError, match="gone") as caught:
        backend.load(models["tiny"], request_for(256))

    assert caught.value.hint == "`lmstrix scan` looks for models again"


def test_a_broken_file_is_no_verdict_on_the_context(
    backend: LlamaCppBackend, models: dict[str, Model], folder: Path
) -> None:
    """A file that changed since it was listed fails to load, and refutes nothing."""
    path = folder / "tiny-f16.gguf"
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(ModelLoadError) as caught:
        backend.load(models["tiny"], request_for(256))

    assert not Outcome(caught.value.outcome).refutes


@pytest.mark.parametrize(
    ("number", "outcome"),
    [(signal.SIGABRT, Outcome.CRASHED), (signal.SIGSEGV, Outcome.CRASHED)],
)
def test_an_engine_that_dies_while_it_answers_has_crashed(
    backend: LlamaCppBackend, models: dict[str, Model], number: signal.Signals, outcome: Outcome
) -> None:
    """We live on, and know what it died of."""
    copy = backend.load(models["tiny"], request_for(4096))

    def strike(tick: Tick) -> None:
        if tick.text:
            kill(engine_pid(copy.identifier), number)

    with pytest.raises(GenerationError) as caught:
        copy.complete(RAW, Sampling(max_tokens=3000), stall_s=30, on_tick=strike)

    assert caught.value.outcome == outcome
    assert number.name in caught.value.detail
    assert backend.loaded() == []
    again = backend.load(models["tiny"], request_for(256)).complete(RAW, GREEDY, stall_s=30)
    assert again.completion_tokens == 16


def test_an_engine_that_hangs_is_given_up_and_ended(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A stopped process stands for any hang: no answer, no end."""
    copy = backend.load(models["tiny"], request_for(4096))
    pid = engine_pid(copy.identifier)
    beats = []

    def freeze(tick: Tick) -> None:
        beats.append(tick)
        if len(beats) == 1:
            kill(pid, signal.SIGSTOP)

    with pytest.raises(GenerationError) as caught:
        copy.complete(RAW, Sampling(max_tokens=3000), stall_s=1.5, on_tick=freeze)

    assert caught.value.outcome == Outcome.TIMED_OUT
    assert not psutil.pid_exists(pid)
    assert len(beats) >= 3  # at least two signs of life a second, while nothing came


def test_a_load_that_hangs_is_given_up_and_ended(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """The timeout holds while the engine is still silent about its port."""
    me = psutil.Process()
    before = {child.pid for child in me.children()}

    def freeze(_: Tick) -> None:
        for child in me.children():
            if child.pid not in before:
                kill(child.pid, signal.SIGSTOP)

    request = LoadRequest(context=256, config=LoadConfig(), budget_bytes=None, timeout_s=1.0)
    with pytest.raises(ModelLoadError) as caught:
        backend.load(models["tiny"], request, on_tick=freeze)

    assert caught.value.outcome == Outcome.TIMED_OUT
    assert {child.pid for child in me.children()} == before


def test_raising_while_it_loads_leaves_no_process(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A cancelled load is cleaned up at once."""
    before = psutil.Process().children()

    def interrupt(_: Tick) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend.load(models["heavy"], request_for(65_536), on_tick=interrupt)

    assert psutil.Process().children() == before
    assert backend.loaded() == []


PARENT = """
    import sys, time
    from pathlib import Path
    from lmstrix.backends.llamacpp.backend import LlamaCppBackend
    from lmstrix.backends.llamacpp.header_cache import HeaderCache
    from lmstrix.ports import LoadRequest
    from lmstrix.values import LoadConfig

    folder, moment = Path(sys.argv[1]), sys.argv[2]
    backend = LlamaCppBackend([folder], HeaderCache(folder / "headers.json"))
    [model] = [m for m in backend.list_models() if m.key in ("heavy", "gemma-3-270m")]
    request = LoadRequest(context=4096, config=LoadConfig(), budget_bytes=None, timeout_s=60)

    def tell(tick):
        if moment == "loading":
            print("now", flush=True)
            time.sleep(600)

    backend.load(model, request, on_tick=tell)
    print("now", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("moment", ["loading", "loaded"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_engine_outlives_its_parent(
    gemma_file: Path, moment: str, number: signal.Signals
) -> None:
    """However the parent ends, the kernel closes the lifeline, also while the engine loads."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(gemma_file.parent), moment],
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"now\n"
    [engine] = psutil.Process(parent.pid).children()

    parent.send_signal(number)
    parent.wait()
    parent.stdout.close()

    _, alive = psutil.wait_procs([engine], timeout=5)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)


def test_the_engine_sees_no_token(
    backend: LlamaCppBackend, models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine has no use for, it does not get."""
    monkeypatch.setenv("LM_API_TOKEN", "sk-secret")
    monkeypatch.setenv("LMSTRIX_SEEN", "yes")
    copy = backend.load(models["tiny"], request_for(256))

    environment = psutil.Process(engine_pid(copy.identifier)).environ()

    assert environment["LMSTRIX_SEEN"] == "yes"
    assert "LM_API_TOKEN" not in environment


def test_the_engine_prints_nothing_on_our_stdout(
    backend: LlamaCppBackend, models: dict[str, Model], capfd: pytest.CaptureFixture[str]
) -> None:
    """Standard output carries data, or a protocol."""
    backend.load(models["tiny"], request_for(256)).complete(RAW, GREEDY, stall_s=30)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("status", "line", "outcome"),
    [
        (3, "E ggml_aligned_malloc: insufficient memory", Outcome.OUT_OF_MEMORY),
        (-6, "GGML_ASSERT(ctx->mem_buffer != NULL) failed", Outcome.OUT_OF_MEMORY),
        (-6, "GGML_ASSERT(n_tokens > 0) failed", Outcome.CRASHED),
        (-9, "I srv init: model loaded", Outcome.OUT_OF_MEMORY),
        (134, "", Outcome.CRASHED),
        (3, "E llama_model_load: invalid magic", Outcome.UNKNOWN),
    ],
)
def test_an_end_is_classified_by_words_then_by_status(
    status: int, line: str, outcome: Outcome
) -> None:
    """The engine's own words win: an abort for want of memory is want of memory."""
    assert classify(status, [line]) is outcome


def test_a_refusal_for_want_of_memory_is_out_of_memory() -> None:
    """Seen on gemma-3-270m, filled close to its budget: the request ends, the engine lives on."""
    body = b'{"error": {"code": 500, "message": "got exception: std::bad_alloc"}}'

    for told, outcome in ((body, Outcome.OUT_OF_MEMORY), (b"<html>", Outcome.UNKNOWN)):
        error = refusal(RefusedError(500, told))
        assert isinstance(error, GenerationError)
        assert error.outcome == outcome


def test_last_words_are_the_telling_lines_without_their_prefix() -> None:
    """A user reads the reason, not the log format."""
    lines = ["0.00.1 I srv: all well", "0.00.9 E srv  load_model: failed to load", "goodbye"]

    assert last_words(1, lines) == "srv  load_model: failed to load (exit status 1)"
    assert last_words(-11, []) == "it said nothing (killed by SIGSEGV)"
    assert last_words(None, []) == "it said nothing (still running)"


def test_a_missing_or_damaged_demo_model_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    """A file by that name that is not the model is not used, and not overwritten."""
    foreign = tmp_path / "gemma-3-270m-q4_k_m.gguf"
    foreign.write_text("mine", encoding="utf-8")

    with pytest.raises(BackendUnavailableError, match="cannot be assembled"):
        assemble_demo_model(tmp_path)

    assert foreign.read_text(encoding="utf-8") == "mine"
