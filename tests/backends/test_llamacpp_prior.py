"""What a header promises a token will take is what llama.cpp then takes."""

from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from backends.raw_gguf import LLAMA, header
from lmstrix.backends.llamacpp.backend import LlamaCppBackend
from lmstrix.backends.llamacpp.estimate import CELL_BYTES, FILLING_BYTES, estimate
from lmstrix.backends.llamacpp.gguf import read_header
from lmstrix.backends.llamacpp.header_cache import HeaderCache
from lmstrix.errors import RequestError
from lmstrix.ports import LoadRequest, Prior
from lmstrix.values import LoadConfig, Model

LOW, HIGH = 4_096, 16_384


def measured(backend: LlamaCppBackend, model: Model, config: LoadConfig) -> float:
    """Return the bytes that a token takes, from two loads."""
    taken = []
    for context in (LOW, HIGH):
        request = LoadRequest(context=context, config=config, budget_bytes=None, timeout_s=60)
        copy = backend.load(model, request)
        taken.append(copy.memory_bytes() or 0)
        copy.unload()
    return (taken[1] - taken[0]) / (HIGH - LOW)


def expected(backend: LlamaCppBackend, model: Model, config: LoadConfig) -> Prior:
    """Return the prior, where there has to be one."""
    prior = backend.prior(model, config)
    assert prior is not None
    return prior


@pytest.mark.real
@pytest.mark.parametrize(
    ("heads", "config"),
    [
        (1, LoadConfig()),
        (1, LoadConfig(batch=128)),
        (4, LoadConfig(kv_type="q8_0")),
        (4, LoadConfig(flash_attention=False)),
    ],
)
def test_slope_is_within_a_tenth_of_what_two_loads_measure(
    tmp_path: Path, heads: int, config: LoadConfig
) -> None:
    """The first large probe goes by it; the cache alone would be off by a third to six times."""
    write_tiny_gguf(tmp_path / "tiny-f16.gguf", kv_heads=heads, context_length=HIGH)
    backend = LlamaCppBackend([tmp_path], HeaderCache(tmp_path / "headers.json"))
    [model] = backend.list_models()

    slope = expected(backend, model, config).bytes_per_token

    assert slope == pytest.approx(measured(backend, model, config), rel=0.1)


def test_every_part_is_counted(backend: LlamaCppBackend, models: dict[str, Model]) -> None:
    """Cache, mask and cell; without flash attention the scores of each of the two heads."""
    tiny = models["tiny"]

    def slope(config: LoadConfig) -> float:
        return expected(backend, tiny, config).bytes_per_token - CELL_BYTES

    assert slope(LoadConfig()) == 512 + 2 * 512
    assert slope(LoadConfig(flash_attention=True, batch=64)) == 512 + 2 * 64
    assert slope(LoadConfig(flash_attention=False)) == 512 + 4 * 512 * (1 + 2)
    assert slope(LoadConfig(kv_type="q8_0")) == 512 * 17 / 32 + 2 * 512


def test_what_a_token_takes_once_it_is_read_is_told_apart(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """A load does not show it, so it must not be mixed up with what a load shows."""
    prior = expected(backend, models["tiny"], LoadConfig())

    assert prior.filling == FILLING_BYTES
    assert prior.fixed_bytes is None


@pytest.mark.parametrize("config", [LoadConfig(), LoadConfig(flash_attention=False)])
def test_header_that_tells_nothing_gives_no_prior(tmp_path: Path, config: LoadConfig) -> None:
    """A made-up slope would be trusted as far as a real one."""
    untold = {key: value for key, value in LLAMA.items() if "head_count" not in key}
    (tmp_path / "x.gguf").write_bytes(header(untold))

    found = estimate(read_header(tmp_path / "x.gguf"), config)

    assert found is None


def test_heads_that_differ_by_layer_count_as_their_most(tmp_path: Path) -> None:
    """The buffer for scores is as large as the largest layer needs."""
    (tmp_path / "x.gguf").write_bytes(header(LLAMA | {"llama.attention.head_count": (2, 6)}))

    found = estimate(read_header(tmp_path / "x.gguf"), LoadConfig(flash_attention=False))

    assert found is not None
    cache = 2 * 2 * (32 + 32) * 2
    assert found.bytes_per_token == cache + 4 * 512 * (1 + 6) + CELL_BYTES


def test_cache_type_that_llama_cpp_does_not_know_is_refused(
    backend: LlamaCppBackend, models: dict[str, Model]
) -> None:
    """As it is by a load."""
    with pytest.raises(RequestError, match="q9_9"):
        backend.prior(models["tiny"], LoadConfig(kv_type="q9_9"))
