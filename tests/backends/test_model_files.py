"""Which models are found in folders of files, and what is said of the rest."""

import os
from pathlib import Path

import pytest

from backends.gguf_files import write_tiny_gguf
from backends.raw_gguf import LLAMA, header, write_model
from lmstrix.backends.llamacpp.files import Found, HeaderCache, find_models, identity
from lmstrix.backends.llamacpp.walk import GGUFError


def find(*folders: Path) -> Found:
    """Return what is in `folders`."""
    return find_models(folders, HeaderCache())


def keys(*folders: Path) -> list[str]:
    """Return the keys of what is in `folders`, if there is nothing wrong with them."""
    found = find(*folders)
    assert found.problems == ()
    return [model.key for model in found.models]


def write_split(folder: Path, stem: str, total: int) -> list[Path]:
    """Write a model in parts as `gguf-split` does: only the first says what it is."""
    first = write_model(
        folder / f"{stem}-00001-of-{total:05}.gguf", {"split.no": 0, "split.count": total}
    )
    rest = [folder / f"{stem}-{number:05}-of-{total:05}.gguf" for number in range(2, total + 1)]
    for number, path in enumerate(rest, start=1):
        path.write_bytes(header({"split.no": number, "split.count": total}))
    return [first, *rest]


def test_model_says_what_its_header_says(tmp_path: Path) -> None:
    """An agent chooses a model by this."""
    path = write_tiny_gguf(tmp_path / "Tiny-7-F16.gguf", context_length=8192)

    [model] = find(tmp_path).models

    assert model.key == "tiny-7"
    assert model.backend == "llamacpp"
    assert model.path == str(path)
    assert model.format == "gguf"
    assert model.architecture == "llama"
    assert model.params == "128K"
    assert model.quantization == "F16"
    assert model.size_bytes == path.stat().st_size
    assert model.declared_context == 8192
    assert model.vision is False
    assert model.tool_use is None


def test_label_of_its_maker_goes_before_what_is_counted(tmp_path: Path) -> None:
    """Makers round as they like, and people know the model by it."""
    write_model(tmp_path / "m.gguf", {"general.size_label": "8x7B"})

    [model] = find(tmp_path).models

    assert model.params == "8x7B"


def test_quantization_unknown_to_the_header_is_taken_from_the_name(tmp_path: Path) -> None:
    """Some writers leave the file type out, or use one made since."""
    write_model(tmp_path / "m-ud-q4_k_xl.gguf", {"general.file_type": 999})

    [model] = find(tmp_path).models

    assert model.quantization == "UD-Q4_K_XL"
    assert model.key == "m"


def test_unknown_declared_context_is_null(tmp_path: Path) -> None:
    """Zero would be a lie."""
    write_model(tmp_path / "m.gguf", {"llama.context_length": 0})

    [model] = find(tmp_path).models

    assert model.declared_context is None


@pytest.mark.parametrize(
    ("template", "tools"), [("{{ messages }}", False), ("{% if tools %}{% endif %}", True)]
)
def test_tool_use_is_told_by_the_chat_template(
    tmp_path: Path, template: str, *, tools: bool
) -> None:
    """A template without tools never shows them to the model."""
    write_model(tmp_path / "m.gguf", {"tokenizer.chat_template": template})

    [model] = find(tmp_path).models

    assert model.tool_use is tools


def test_models_are_found_in_all_folders_below(tmp_path: Path) -> None:
    """LM Studio keeps `publisher/repository/file.gguf`; others do as they like."""
    for path in ("a.gguf", "pub/repo/b.GGUF", "pub/repo/deep/er/c.gguf", "pub/repo/notes.txt"):
        write_model(tmp_path / path)

    assert keys(tmp_path) == ["a", "b", "c"]


def test_folder_reached_twice_is_searched_once(tmp_path: Path) -> None:
    """Folders overlap, and links lead in circles."""
    write_model(tmp_path / "pub" / "repo" / "a.gguf")
    (tmp_path / "pub" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "pub" / "again").symlink_to(tmp_path / "pub" / "repo", target_is_directory=True)

    assert keys(tmp_path, tmp_path / "pub", tmp_path) == ["a"]


def test_linked_model_is_a_model_under_the_name_of_the_link(tmp_path: Path) -> None:
    """Hugging Face's cache names files by digest, and links to them."""
    blob = write_model(tmp_path / "blobs" / "0123abcd")
    link = tmp_path / "snapshot" / "nice-q4_0.gguf"
    link.parent.mkdir()
    link.symlink_to(blob)

    [model] = find(tmp_path).models

    assert (model.key, model.path) == ("nice", str(link))


def test_folder_that_does_not_exist_is_no_problem(tmp_path: Path) -> None:
    """Nobody has to have LM Studio."""
    assert find(tmp_path / "none") == Found(models=(), problems=())


def test_folder_that_cannot_be_searched_is_a_problem(tmp_path: Path) -> None:
    """Its models would be missed, and their owner should know why."""
    file = tmp_path / "file"
    file.write_bytes(b"")

    assert find(file).problems == (f"{file}: not a directory",)


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("mmproj-f16.gguf", {}),
        ("model-mmproj-f16.gguf", {}),
        ("eyes.gguf", {"general.architecture": "clip"}),
        ("eyes.gguf", {"general.type": "mmproj"}),
        ("lora.gguf", {"general.type": "adapter"}),
        ("imatrix.gguf", {"general.type": "imatrix"}),
        ("embed.gguf", {"general.architecture": "nomic-bert"}),
        ("._m.gguf", {}),
    ],
)
def test_file_that_is_no_model_is_passed_over(
    tmp_path: Path, name: str, metadata: dict[str, str]
) -> None:
    """They lie beside models and belong there."""
    write_model(tmp_path / name, metadata)

    assert find(tmp_path) == Found(models=(), problems=())


def test_vocabulary_alone_is_passed_over(tmp_path: Path) -> None:
    """llama.cpp's own sources are full of them."""
    (tmp_path / "ggml-vocab.gguf").write_bytes(header())

    assert find(tmp_path) == Found(models=(), problems=())


@pytest.mark.parametrize(
    ("name", "metadata"),
    [("mmproj-f16.gguf", {}), ("eyes.gguf", {"general.architecture": "clip"})],
    ids=["by name", "by header"],
)
def test_model_beside_a_projector_reads_images(
    tmp_path: Path, name: str, metadata: dict[str, str]
) -> None:
    """The projector is what turns an image into tokens."""
    write_model(tmp_path / "seeing" / "a.gguf")
    write_model(tmp_path / "seeing" / name, metadata)
    write_model(tmp_path / "blind" / "b.gguf")

    assert [(model.key, model.vision) for model in find(tmp_path).models] == [
        ("a", True),
        ("b", False),
    ]


def test_truncated_model_is_a_problem_that_names_the_sizes(tmp_path: Path) -> None:
    """llama.cpp would fail on it, or crash; a download is to be resumed."""
    whole = write_model(tmp_path / "whole.gguf")
    cut = write_model(tmp_path / "cut.gguf", missing=1)

    found = find(tmp_path)

    needs = whole.stat().st_size
    assert [model.key for model in found.models] == ["whole"]
    assert found.problems == (f"{cut}: truncated: needs {needs} bytes, has {needs - 1}",)


def test_broken_file_is_a_problem_and_others_are_found(tmp_path: Path) -> None:
    """One bad file must not cost the rest."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"<html>404</html>")
    write_model(tmp_path / "whole.gguf")

    found = find(tmp_path)

    assert [model.key for model in found.models] == ["whole"]
    assert found.problems == (f"{broken}: it is not a GGUF file",)


def test_model_without_architecture_is_a_problem(tmp_path: Path) -> None:
    """llama.cpp cannot load what it cannot name."""
    path = write_model(tmp_path / "m.gguf", {"general.architecture": 7})

    assert find(tmp_path).problems == (f"{path}: its header names no architecture",)


def test_link_to_nothing_is_a_problem(tmp_path: Path) -> None:
    """The model was moved, and its owner should know."""
    link = tmp_path / "m.gguf"
    link.symlink_to(tmp_path / "gone")

    assert find(tmp_path).problems == (f"{link}: no such file or directory",)


def test_link_to_itself_is_a_problem(tmp_path: Path) -> None:
    """It must not end the scan."""
    link = tmp_path / "m.gguf"
    link.symlink_to(link)
    write_model(tmp_path / "whole.gguf")

    found = find(tmp_path)

    assert [model.key for model in found.models] == ["whole"]
    assert len(found.problems) == 1


def test_problem_is_one_line_whatever_the_file_is_called(tmp_path: Path) -> None:
    """File names come from strangers too, and reach the terminal."""
    (tmp_path / "a\nb\x1b[2J.gguf").write_bytes(b"")

    assert find(tmp_path).problems == (f"{tmp_path}/a\ufffdb\ufffd[2J.gguf: it is not a GGUF file",)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_name_that_is_not_text_is_a_problem(tmp_path: Path) -> None:
    """Such a path cannot be stored or sent."""
    try:
        write_model(tmp_path / os.fsdecode(b"caf\xe9.gguf"))
    except OSError:
        pytest.skip("this file system takes no such names")

    assert find(tmp_path).problems == (f"{tmp_path}/caf\\udce9.gguf: its name is not valid text",)


def test_parts_are_one_model_under_the_first(tmp_path: Path) -> None:
    """llama.cpp is given the first part, and all of them fill memory."""
    parts = write_split(tmp_path, "big-q8_0", 3)

    [model] = find(tmp_path).models

    assert model.key == "big"
    assert model.path == str(parts[0])
    assert model.size_bytes == sum(part.stat().st_size for part in parts)


def test_first_part_may_hold_no_tensors(tmp_path: Path) -> None:
    """`gguf-split --no-tensor-first-split` writes the metadata apart."""
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(
        header(LLAMA | {"split.no": 0, "split.count": 2})
    )
    write_model(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1, "split.count": 2})

    assert keys(tmp_path) == ["m"]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_model_with_a_part_missing_is_a_problem(tmp_path: Path, lost: int) -> None:
    """One line for the model, not one for each part."""
    parts = write_split(tmp_path, "big-q8_0", 3)
    parts.pop(lost).unlink()

    found = find(tmp_path)

    assert found.models == ()
    assert found.problems == (f"{parts[0]}: 1 of the 3 parts are missing",)


def test_truncated_part_is_a_problem(tmp_path: Path) -> None:
    """Every part is checked, not the first alone."""
    write_split(tmp_path, "m", 2)
    part = write_model(
        tmp_path / "m-00002-of-00002.gguf", {"split.no": 1, "split.count": 2}, missing=9
    )

    [problem] = find(tmp_path).problems

    assert problem.startswith(f"{part}: truncated")


def test_renamed_part_is_a_problem(tmp_path: Path) -> None:
    """llama.cpp finds the other parts by the name, so it would not find them."""
    parts = write_split(tmp_path, "m", 2)
    renamed = parts[0].rename(tmp_path / "renamed.gguf")
    parts[1].unlink()

    assert find(tmp_path).problems == (f"{renamed}: its name says part 1 of 1, its header 1 of 2",)


def test_equal_names_in_two_folders_are_two_models(tmp_path: Path) -> None:
    """Parts belong together within one folder only."""
    write_split(tmp_path / "one" / "x", "m", 2)
    write_split(tmp_path / "two" / "x", "m", 2)

    assert keys(tmp_path) == ["one/m", "two/m"]


def test_scan_is_remembered(tmp_path: Path) -> None:
    """The next process need not read the headers."""
    write_model(tmp_path / "models" / "m.gguf")
    file = tmp_path / "headers.json"

    find_models([tmp_path / "models"], HeaderCache(file))

    assert file.exists()


def test_identity_follows_size_and_header(tmp_path: Path) -> None:
    """A limit holds for one file: another quantization or a new release is another model."""
    first = write_model(tmp_path / "first.gguf")
    copy = write_model(tmp_path / "copy.gguf")
    renamed = write_model(tmp_path / "other.gguf", {"general.name": "other"})
    cache = HeaderCache()

    assert identity(first, cache) == identity(copy, cache)
    assert identity(first, cache).startswith(f"{first.stat().st_size}-")
    assert identity(first, cache)[-12:] != identity(renamed, cache)[-12:]


def test_identity_of_a_split_model_counts_all_parts(tmp_path: Path) -> None:
    """Its parts can be replaced one by one."""
    parts = write_split(tmp_path, "m", 3)
    size = sum(part.stat().st_size for part in parts)

    assert identity(parts[0], HeaderCache()).startswith(f"{size}-")

    parts[2].unlink()
    with pytest.raises(GGUFError):
        identity(parts[0], HeaderCache())
