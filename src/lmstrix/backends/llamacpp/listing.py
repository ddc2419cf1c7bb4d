"""Lists the GGUF files in folders, and puts the parts of split ones together."""

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lmstrix.backends.llamacpp.names import printable, split_part
from lmstrix.backends.llamacpp.walk import GGUFError, os_reason

_EXTENSION: Final = ".gguf"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A file that is a model by its name, or part `number` of `total` of one.

    `stem` is its name without the part and the extension.
    """

    path: str
    name: str
    folder: str
    stat: os.stat_result
    stem: str
    number: int
    total: int


def list_files(folders: Sequence[Path], problems: list[str]) -> Iterator[ModelFile]:
    """Yield the GGUF files in `folders` and below, folder by folder in order of name.

    A folder that is reached twice, by links too, is searched once; one that does not exist is
    passed over.

    Args:
        folders: Where to look.
        problems: Gets a line for each file and folder that cannot be looked at.
    """
    searched: set[tuple[int, int]] = set()
    pending = [str(folder) for folder in reversed(folders)]
    while pending:
        folder = pending.pop()
        try:
            place = Path(folder).stat()
            if (place.st_dev, place.st_ino) in searched:
                continue
            searched.add((place.st_dev, place.st_ino))
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(problem_line(folder, os_reason(error)))
            continue
        pending.extend(entry.path for entry in reversed(listed) if _is_folder(entry))
        yield from _model_files(listed, folder, problems)


def group_parts(files: Iterator[ModelFile]) -> list[list[ModelFile]]:
    """Return the files of each model together, in the order of their numbers."""
    groups: defaultdict[tuple[str, str, int], list[ModelFile]] = defaultdict(list)
    for file in files:
        name = file.name if file.total == 1 else file.stem + file.name[-len(_EXTENSION) :]
        groups[file.folder, name, file.total].append(file)
    return [sorted(group, key=lambda file: file.number) for group in groups.values()]


def problem_line(path: str, reason: str) -> str:
    """Return one line that a terminal shows as it is, whatever the file is called."""
    return f"{printable(path.encode(errors='backslashreplace').decode())}: {reason}"


def _model_files(
    entries: Sequence[os.DirEntry[str]], folder: str, problems: list[str]
) -> Iterator[ModelFile]:
    for entry in entries:
        # Names that start with a dot are the file system's own, such as macOS's `._model.gguf`.
        if entry.name.startswith(".") or not entry.name.lower().endswith(_EXTENSION):
            continue
        if not _is_folder(entry):
            try:
                yield _model_file(entry, folder)
            except GGUFError as error:
                problems.append(problem_line(entry.path, error.reason))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _model_file(entry: os.DirEntry[str], folder: str) -> ModelFile:
    try:
        entry.path.encode()
        stat = entry.stat()
    except UnicodeEncodeError as error:
        raise GGUFError(Path(entry.path), "its name is not valid text") from error
    except OSError as error:
        raise GGUFError(Path(entry.path), os_reason(error)) from error
    stem, number, total = split_part(entry.name[: -len(_EXTENSION)])
    return ModelFile(entry.path, entry.name, folder, stat, stem, number, total)
