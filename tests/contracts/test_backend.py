"""Every runtime keeps the same promises: one body, each `Backend`.

A runtime joins by a `Bench` in `BENCHES`: a backend that offers a small model, and the sizes to
try it with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.errors import ModelLoadError, PromptTooLongError
from lmstrix.ports import Backend, Loaded, LoadRequest, Prompt, Sampling, Tick
from lmstrix.testing import FakeBackend, FakeModel
from lmstrix.values import LoadConfig, Model, Outcome, Status

ROUNDING = 256
MIB = 1 << 20


class Stop(Exception):  # noqa: N818 - it is no error, but a caller who has had enough
    """What a caller raises from `on_tick`."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A runtime with a small model, to be held to the contract.

    Attributes:
        backend: The runtime. It is closed after the test.
        context: A context that loads, in tokens, at least 512 and not a multiple of 256.
        starving_bytes: A memory budget in which that context does not load.
    """

    backend: Backend
    context: int = 1_000
    starving_bytes: int = MIB

    @property
    def model(self) -> Model:
        """The first model that the runtime lists."""
        return self.backend.list_models()[0]

    def request(
        self, *, context: int | None = None, budget_bytes: int | None = None
    ) -> LoadRequest:
        """Return a request to load the model, at the bench's context if none is named."""
        return LoadRequest(
            context=context or self.context,
            config=LoadConfig(),
            budget_bytes=budget_bytes,
            timeout_s=60,
        )

    def load(self) -> Loaded:
        """Load the model."""
        return self.backend.load(self.model, self.request())

    def held(self) -> set[str]:
        """Return the identifiers of the copies loaded now."""
        return {copy.identifier for _, copy in self.backend.loaded()}


def fake(_: Path) -> Bench:
    """Return the fake runtime."""
    model = FakeModel(
        key="tiny", rounds_to=ROUNDING, fixed_bytes=2 * MIB, reply=lambda text: text[:400]
    )
    return Bench(backend=FakeBackend(model, FakeModel(key="other")))


def llamacpp(folder: Path) -> Bench:
    """Return llama.cpp with a model that loads in a blink."""
    write_tiny_gguf(folder / "tiny-f16.gguf", context_length=65_536)
    return Bench(backend=LlamaCppBackend([folder], HeaderCache(folder / "headers.json")))


BENCHES: list[Callable[[Path], Bench]] = [fake, llamacpp]


@pytest.fixture(params=BENCHES, ids=lambda make: make.__name__)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A runtime to hold to the contract."""
    made: Bench = request.param(tmp_path)
    yield made
    made.backend.close()


TEXT = Prompt(text="The lighthouse keeper counted the ships and went to bed.", chat=False)
GREEDY = Sampling(max_tokens=12, temperature=0.0, seed=0)


def test_models_are_listed_by_key_without_what_is_measured(bench: Bench) -> None:
    """The runtime says what there is; limits and status are the registry's."""
    models = bench.backend.list_models()

    assert models
    assert all(left.key < right.key for left, right in pairwise(models))
    for model in models:
        assert model.backend == bench.backend.name
        assert (model.limits, model.status) == (None, Status.UNTESTED)


def test_nothing_is_passed_over_without_a_word(bench: Bench) -> None:
    """Problems are lines of text, and there are none with sound models."""
    bench.backend.list_models()

    assert list(bench.backend.problems()) == []


def test_fingerprint_tells_configurations_apart_and_nothing_else(bench: Bench) -> None:
    """A limit is found again by it, after any restart, and never for another configuration."""
    one, same, other = (
        bench.backend.fingerprint(bench.model, LoadConfig(kv_type=kind))
        for kind in (None, None, "q8_0")
    )

    assert one.digest == same.digest != other.digest
    assert one.budget_bytes is None


def test_load_reports_the_effective_context(bench: Bench) -> None:
    """Rounding up is allowed; what counts is that the number read back is true."""
    copy = bench.load()

    assert bench.context <= copy.context < bench.context + ROUNDING
    assert copy.load_s is not None
    [(key, listed)] = bench.backend.loaded()
    assert key == bench.model.key
    assert (listed.identifier, listed.context) == (copy.identifier, copy.context)


def test_context_left_open_is_chosen_by_the_runtime(bench: Bench) -> None:
    """The effective context says what it chose."""
    request = LoadRequest(context=None, config=LoadConfig(), budget_bytes=None, timeout_s=60)

    assert bench.backend.load(bench.model, request).context > 0


def test_every_load_is_a_new_copy(bench: Bench) -> None:
    """A probe that is given a copy loaded before, at another context, measures nothing."""
    one, two = bench.load(), bench.load()

    assert one.identifier != two.identifier
    assert bench.held() == {one.identifier, two.identifier}


def test_unloading_releases_one_copy_and_may_be_repeated(bench: Bench) -> None:
    """Clean-up runs more than once on the way out of an error."""
    one, two = bench.load(), bench.load()

    one.unload()
    one.unload()

    assert bench.held() == {two.identifier}


def test_loaded_copy_is_found_again_by_its_name(bench: Bench) -> None:
    """This is how a second prompt comes by the copy of the first."""
    copy = bench.load()

    again = bench.backend.attach(copy.identifier)

    assert again is not None
    assert (again.identifier, again.context) == (copy.identifier, copy.context)
    assert again.load_s == copy.load_s, "it is ours, and stays so"
    copy.unload()
    assert bench.backend.attach(copy.identifier) is None


def test_copy_nobody_loaded_is_not_found(bench: Bench) -> None:
    """It may be gone since it was listed, which is no error."""
    assert bench.backend.attach("nobody's") is None


def test_closing_releases_every_copy(bench: Bench) -> None:
    """Who closes the runtime wants the memory back."""
    bench.load()
    bench.load()

    bench.backend.close()

    assert bench.held() == set()


def test_load_beyond_the_budget_is_out_of_memory_and_leaves_nothing(bench: Bench) -> None:
    """The budget is what the search for a limit leans on, in place of the machine's last byte."""
    with pytest.raises(ModelLoadError) as failure:
        bench.backend.load(bench.model, bench.request(budget_bytes=bench.starving_bytes))

    assert failure.value.outcome == Outcome.OUT_OF_MEMORY
    assert bench.held() == set()


def test_memory_of_a_copy_is_told_or_unknown(bench: Bench) -> None:
    """Nought would be taken for a measurement."""
    memory = bench.load().memory_bytes()

    assert memory is None or memory > 0


def test_memory_of_the_machine_is_told_or_unknown(bench: Bench) -> None:
    """What is free of it caps every probe."""
    memory = bench.backend.memory()

    assert memory is None or 0 <= memory.available <= memory.total


def test_prior_is_told_or_unknown(bench: Bench) -> None:
    """The first large probe goes by it."""
    prior = bench.backend.prior(bench.model, LoadConfig())

    assert prior is None or prior.bytes_per_token >= 0


def test_stop_while_loading_propagates_and_leaves_nothing(bench: Bench) -> None:
    """A caller who has had enough must not pay for a copy that nobody holds."""

    def stop(tick: Tick) -> None:
        assert tick.phase == "load"
        raise Stop

    with pytest.raises(Stop):
        bench.backend.load(bench.model, bench.request(), on_tick=stop)

    assert bench.held() == set()


def test_tokens_counted_are_the_tokens_read(bench: Bench) -> None:
    """A truncated prompt is recognised by nothing but this."""
    copy = bench.load()

    for text in (TEXT.text, "x", "4821973, {}\n\n" * 20):
        prompt = Prompt(text=text, chat=False)
        assert copy.complete(prompt, GREEDY, stall_s=60).prompt_tokens == copy.count_tokens(prompt)


def test_template_and_system_prompt_are_counted(bench: Bench) -> None:
    """They take room in the window like any other text."""
    copy = bench.load()
    raw, chat, system = (
        copy.count_tokens(prompt)
        for prompt in (
            Prompt(text=TEXT.text, chat=False),
            Prompt(text=TEXT.text, chat=True),
            Prompt(text=TEXT.text, chat=True, system="Answer in one word."),
        )
    )

    assert raw < chat < system


def test_answer_is_told_piece_by_piece_and_as_a_whole(bench: Bench) -> None:
    """What was streamed and what is returned must be the same text."""
    ticks: list[Tick] = []

    done = bench.load().complete(TEXT, GREEDY, stall_s=60, on_tick=ticks.append)

    assert "".join(tick.text for tick in ticks) == done.text
    assert {"prefill", "decode"} >= {tick.phase for tick in ticks} >= {"decode"}


def test_answer_ends_where_it_was_told_to(bench: Bench) -> None:
    """The room left for the answer is part of how a window is filled."""
    done = bench.load().complete(TEXT, GREEDY, stall_s=60)

    assert done.completion_tokens is not None
    assert done.completion_tokens <= GREEDY.max_tokens
    assert (done.stop_reason == "length") == (done.completion_tokens == GREEDY.max_tokens)


def test_same_prompt_gets_the_same_answer_at_temperature_nought(bench: Bench) -> None:
    """A measurement can be repeated."""
    copy = bench.load()

    one, two = (copy.complete(TEXT, GREEDY, stall_s=60).text for _ in range(2))

    assert one == two


def test_prompt_beyond_the_context_is_refused_with_both_numbers(bench: Bench) -> None:
    """To cut it in silence would answer to something else."""
    copy = bench.load()
    prompt = Prompt(text=" lighthouse" * 2 * copy.context, chat=False)

    with pytest.raises(PromptTooLongError) as refusal:
        copy.complete(prompt, GREEDY, stall_s=60)

    assert refusal.value.prompt_tokens == copy.count_tokens(prompt)
    assert refusal.value.context == copy.context


def test_stop_while_answering_propagates_and_spares_the_copy(bench: Bench) -> None:
    """The next prompt must not pay for the one that was stopped."""
    copy = bench.load()

    def stop(_: Tick) -> None:
        raise Stop

    with pytest.raises(Stop):
        copy.complete(TEXT, Sampling(max_tokens=400), stall_s=60, on_tick=stop)

    assert copy.complete(TEXT, GREEDY, stall_s=60).prompt_tokens == copy.count_tokens(TEXT)
