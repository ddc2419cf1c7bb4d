"""The keys that model files get, and what their names say."""

from pathlib import PurePosixPath
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.backends.llamacpp.keys import Named, assign_keys
from lmstrix.backends.llamacpp.names import show_parameters, split_part, split_quantization


def keys(*paths: str) -> list[str]:
    """Return the keys of files at these paths."""
    return assign_keys([named(path) for path in paths])


def named(path: str) -> Named:
    """Return what `path` says of itself."""
    stem, quantization = split_quantization(PurePosixPath(path).stem)
    return Named(path, stem, quantization)


@pytest.mark.parametrize(
    ("stem", "name", "quantization"),
    [
        ("gemma-3-270m-q4_k_m", "gemma-3-270m", "q4_k_m"),
        ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct", "Q4_1"),
        ("DeepSeek-R1-UD-IQ1_S", "DeepSeek-R1", "UD-IQ1_S"),
        ("Qwen3-8B-UD-Q4_K_XL", "Qwen3-8B", "UD-Q4_K_XL"),
        ("model.i1-IQ3_XXS", "model", "i1-IQ3_XXS"),
        ("phi-4-Q4_0_4_8", "phi-4", "Q4_0_4_8"),
        ("gpt-oss-20b-MXFP4", "gpt-oss-20b", "MXFP4"),
        ("tiny-f16", "tiny", "f16"),
        ("llama_BF16", "llama", "BF16"),
        ("bitnet-TQ2_0", "bitnet", "TQ2_0"),
        ("Q4_K_M", "Q4_K_M", None),
        ("model-Q4_K_M-v2", "model-Q4_K_M-v2", None),
        ("qwq-32b", "qwq-32b", None),
    ],
)
def test_quantization_is_told_by_the_end_of_the_name(
    stem: str, name: str, quantization: str | None
) -> None:
    """Publishers write it in many ways, and it is no part of the model's name."""
    assert split_quantization(stem) == (name, quantization)


@pytest.mark.parametrize(
    ("stem", "part"),
    [
        ("big-Q8_0-00002-of-00003", ("big-Q8_0", 2, 3)),
        ("big-Q8_0", ("big-Q8_0", 1, 1)),
        ("big-00004-of-00003", ("big-00004-of-00003", 1, 1)),
        ("big-00000-of-00003", ("big-00000-of-00003", 1, 1)),
        ("big-1-of-3", ("big-1-of-3", 1, 1)),
    ],
)
def test_part_of_a_split_model_is_told_by_its_name(stem: str, part: tuple[str, int, int]) -> None:
    """llama.cpp finds the other parts by the name alone."""
    assert split_part(stem) == part


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (268_098_176, "268M"),
        (134_515_008, "135M"),
        (1_235_814_400, "1.2B"),
        (70_553_706_496, "71B"),
        (999_900_000, "1.0B"),
        (1_026_000_000_000, "1.0T"),
        (12, None),
        (2**200, None),
    ],
)
def test_parameters_are_shown_as_people_say_them(count: int, shown: str | None) -> None:
    """They stand in for a size label that the file does not have."""
    assert show_parameters(count) == shown


def test_model_alone_is_named_without_its_quantization() -> None:
    """A person types the model's name."""
    assert keys("/m/p/r/Gemma-3-270M-Q4_K_M.gguf") == ["gemma-3-270m"]


def test_quantizations_of_one_model_are_told_apart() -> None:
    """They load differently, so each needs a name."""
    assert keys("/m/p/r/a-Q4_K_M.gguf", "/m/p/r/a-Q8_0.gguf", "/m/p/r/b-Q8_0.gguf") == [
        "a@q4_k_m",
        "a@q8_0",
        "b",
    ]


def test_publishers_of_one_file_are_told_apart() -> None:
    """In LM Studio's layout the publisher is the folder above the repository."""
    assert keys("/m/one/a-GGUF/a-Q8_0.gguf", "/m/Two/a/a-Q8_0.gguf") == ["one/a", "two/a"]


def test_folders_of_one_publisher_are_told_apart() -> None:
    """Where the publisher is the same, the repository is not."""
    assert keys("/m/p/x/a-Q8_0.gguf", "/m/p/y/a-Q8_0.gguf") == ["x/a", "y/a"]


def test_both_folders_tell_apart_what_neither_does() -> None:
    """Three files can need both."""
    assert keys("/m/p/x/a.gguf", "/m/p/y/a.gguf", "/m/q/x/a.gguf") == ["p/x/a", "p/y/a", "q/x/a"]


def test_files_that_differ_in_letters_alone_are_counted() -> None:
    """Keys are in lower case, file names need not be."""
    assert keys("/m/p/r/a.Q8_0.gguf", "/m/p/r/A-Q8_0.gguf") == ["p/r/a~2", "p/r/a"]


FOLDERS = st.sampled_from(["", "/", "/m", "/m/p", "/m/P/r", "/m/q/r", "/m/q/s"])
NAMES = st.sampled_from(["a", "A", "a-q8_0", "a-Q4_0", "a.q8_0", "a@q8_0", "p", "a~2", "-q8_0"])


@given(paths=st.sets(st.tuples(FOLDERS, NAMES), max_size=12))
def test_no_two_files_share_a_key(paths: set[tuple[str, str]]) -> None:
    """Whatever the files are called: a key that names two models names neither."""
    files = [f"{folder}/{name}.gguf" for folder, name in sorted(paths)]

    assert len(set(keys(*files))) == len(files)


@given(paths=st.sets(st.tuples(FOLDERS, NAMES), max_size=12), chance=st.randoms())
def test_keys_do_not_depend_on_the_order_of_files(
    paths: set[tuple[str, str]], chance: Random
) -> None:
    """What is measured is kept by key, and file systems list in any order."""
    files = [f"{folder}/{name}.gguf" for folder, name in sorted(paths)]
    shuffled = chance.sample(files, len(files))

    assert dict(zip(files, keys(*files), strict=True)) == dict(
        zip(shuffled, keys(*shuffled), strict=True)
    )
