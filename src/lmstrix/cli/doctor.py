"""`lmstrix doctor`: what is there, what is missing, what is wrong."""

import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final, Protocol, runtime_checkable

import click
import psutil

from lmstrix import __version__
from lmstrix.app import LMStrix
from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option
from lmstrix.cli.output import emit_json, show_table
from lmstrix.cli.session import Session
from lmstrix.engine.admission import smallest_interrupted
from lmstrix.errors import LMStrixError
from lmstrix.settings import VARIABLES, Settings
from lmstrix.sizes import show_bytes
from lmstrix.values import Check, Diagnosis

_INTERRUPTED: Final = "interrupted probe"


@click.command("doctor", cls=TextCommand)
@json_option
@click.pass_obj
def command(session: Session, /) -> None:
    """Say what LMStrix finds on this machine.

    Versions, settings and where each came from, registry, engine, models, interrupted probes,
    memory. No model is loaded. Exits with 0 whenever it could look, also if something is wrong.

    Example: lmstrix doctor --json
    """
    diagnosis = Diagnosis(checks=tuple(examine(session)))
    if session.as_json:
        emit_json(diagnosis)
        return
    show_table(
        ("check", "state", "found"),
        [(check.name, "ok" if check.ok else "WRONG", _found(check)) for check in diagnosis.checks],
        text_columns=("state", "found"),
    )


def examine(session: Session) -> Iterator[Check]:
    """Look at everything. What cannot be opened is a check that is not well, not an error."""
    yield Check(name="lmstrix", ok=True, detail=f"{__version__}, Python {_python()}")
    yield _engine()
    yield _memory()
    try:
        strix = session.strix
    except LMStrixError as error:
        yield _failed("settings", error)
        return
    yield from _settings(strix.settings)
    yield from _looked("registry", lambda: _registry(strix))
    yield from _looked("models", lambda: _models(strix))


@runtime_checkable
class _Verifiable(Protocol):
    def verify(self) -> Sequence[str]: ...


def _looked(name: str, look: Callable[[], Iterable[Check]]) -> Sequence[Check]:
    try:
        return list(look())
    except LMStrixError as error:
        return [_failed(name, error)]


def _failed(name: str, error: LMStrixError) -> Check:
    return Check(name=name, ok=False, detail=str(error), hint=error.hint)


def _found(check: Check) -> str:
    return check.detail if check.hint is None else f"{check.detail} - {check.hint}"


def _python() -> str:
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def _engine() -> Check:
    try:
        found = version("xllamacpp")
    except PackageNotFoundError:
        return Check(
            name="llama.cpp",
            ok=False,
            detail="the engine is not installed",
            hint="install it with `pip install 'lmstrix[llamacpp]'`",
        )
    return Check(name="llama.cpp", ok=True, detail=f"xllamacpp {found}")


def _memory() -> Check:
    memory = psutil.virtual_memory()
    detail = f"{show_bytes(memory.available)} available of {show_bytes(memory.total)}"
    return Check(name="memory", ok=True, detail=detail)


def _settings(settings: Settings) -> Iterator[Check]:
    shown = {
        "home": str(settings.home),
        "backend": settings.backend,
        "lmstudio_host": settings.lmstudio_host or "not set",
        "api_token": "not set" if settings.api_token is None else "set",
        "models_dir": ", ".join(map(str, settings.models_dirs)),
        "prompts_dir": str(settings.prompts_dir),
        "memory_budget": "not set"
        if settings.memory_budget is None
        else show_bytes(settings.memory_budget),
        "log": settings.log,
    }
    for name in VARIABLES:
        detail = f"{shown[name]} ({settings.sources[name]})"
        yield Check(name=f"settings.{name}", ok=True, detail=detail)


def _registry(strix: LMStrix) -> Iterator[Check]:
    registry = strix.registry
    problems = registry.verify() if isinstance(registry, _Verifiable) else ()
    if problems:
        yield Check(
            name="registry",
            ok=False,
            detail="; ".join(problems),
            hint=f"keep a copy of {strix.settings.home} and report it",
        )
    else:
        count = len(registry.probes())
        yield Check(name="registry", ok=True, detail=f"sound, {count} probes recorded")
    yield from _interruptions(strix)


def _interruptions(strix: LMStrix) -> Iterator[Check]:
    """Look for probes during which a process died, and which bar larger contexts since."""
    subjects = {(p.model, p.fingerprint.digest) for p in strix.interrupted() if p.fingerprint}
    barred = False
    for model, digest in sorted(subjects):
        context = smallest_interrupted(strix.registry.probes(model=model, digest=digest))
        if context is not None:
            barred = True
            yield Check(
                name=_INTERRUPTED,
                ok=False,
                detail=f"{model} at {context:,} tokens; nothing that large is tried by itself",
                hint=f"`lmstrix test {model} --force` tries it again",
            )
    if not barred:
        yield Check(name=_INTERRUPTED, ok=True, detail="none that stands")


def _models(strix: LMStrix) -> Iterator[Check]:
    if strix.settings.backend != "lmstudio":
        for folder in strix.settings.models_dirs:
            state = "a folder" if folder.is_dir() else "not there"
            yield Check(name="models folder", ok=True, detail=f"{folder}: {state}")
    backend = strix.backend
    found = backend.list_models()
    hint = None if found else "put GGUF files into one of the models folders"
    yield Check(
        name="models", ok=bool(found), detail=f"{len(found)} found by {backend.name}", hint=hint
    )
    for problem in backend.problems():
        yield Check(name="model passed over", ok=False, detail=problem)
