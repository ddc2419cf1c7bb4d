"""Settings: option, environment, `config.toml`, default, in that order; read once, then frozen."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import platformdirs
import tomli

from lmstrix.errors import ConfigError
from lmstrix.sizes import parse_bytes

BackendChoice = Literal["auto", "lmstudio", "llamacpp"]
Source = Literal["option", "environment", "config.toml", "default"]

VARIABLES: Final = {
    "home": ("LMSTRIX_HOME",),
    "backend": ("LMSTRIX_BACKEND",),
    "lmstudio_host": ("LMSTRIX_LMSTUDIO_HOST", "LMSTUDIO_BASE_URL"),
    "api_token": ("LM_API_TOKEN", "LMSTUDIO_API_TOKEN"),
    "models_dir": ("LMSTRIX_MODELS_DIR",),
    "prompts_dir": ("LMSTRIX_PROMPTS_DIR",),
    "memory_budget": ("LMSTRIX_MEMORY_BUDGET",),
    "log": ("LMSTRIX_LOG",),
}
"""The environment variables behind each setting, the first that is set wins."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the user chose, and where each choice came from.

    `sources` has a row for each setting. The API token is in neither `repr` nor any output.
    """

    home: Path
    backend: BackendChoice
    lmstudio_host: str | None
    api_token: str | None = field(repr=False)
    models_dirs: tuple[Path, ...]
    prompts_dir: Path
    memory_budget: int | None
    log: str
    sources: Mapping[str, Source]

    @classmethod
    def read(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
        **options: Any,
    ) -> Self:
        """Read every setting.

        Args:
            environ: The environment; the process's own by default.
            config_file: `config.toml` in the user's configuration folder by default.
            options: Settings said on the command line or in a call; None means not said.

        Raises:
            ConfigError: A value cannot be used, or `config.toml` cannot be read.
        """
        environ = os.environ if environ is None else environ
        folder = platformdirs.user_config_path("lmstrix", appauthor=False)
        stored = _read_config(config_file or folder / "config.toml")
        chosen = {name: _choose(name, options, environ, stored) for name in VARIABLES}
        text = {name: value for name, (value, _) in chosen.items()}
        home = _path(text["home"]) or platformdirs.user_data_path("lmstrix", appauthor=False)
        return cls(
            home=home,
            backend=_backend(text["backend"]),
            lmstudio_host=text["lmstudio_host"],
            api_token=text["api_token"],
            models_dirs=_models_dirs(text["models_dir"], home, environ),
            prompts_dir=_path(text["prompts_dir"]) or folder / "prompts",
            memory_budget=_budget(text["memory_budget"]),
            log=_log_level(text["log"]),
            sources={name: source for name, (_, source) in chosen.items()},
        )


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            stored = tomli.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint=f"mend {path}") from error
    if unknown := sorted(stored.keys() - VARIABLES.keys()):
        raise ConfigError(
            f"{path} has an unknown setting: `{unknown[0]}`",
            hint="the settings are " + ", ".join(f"`{name}`" for name in sorted(VARIABLES)),
        )
    return stored


def _choose(
    name: str, options: Mapping[str, Any], environ: Mapping[str, str], stored: Mapping[str, Any]
) -> tuple[str | None, Source]:
    if (option := options.get(name)) is not None:
        return str(option), "option"
    for variable in VARIABLES[name]:
        if value := environ.get(variable):
            return value, "environment"
    if name in stored:
        return str(stored[name]), "config.toml"
    return None, "default"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _backend(text: str | None) -> BackendChoice:
    if text is None:
        return "auto"
    if text not in {"auto", "lmstudio", "llamacpp"}:
        raise ConfigError(
            f"LMSTRIX_BACKEND is unknown: `{text}`",
            hint="it is one of `auto`, `lmstudio`, `llamacpp`",
        )
    return cast("BackendChoice", text)


def _budget(text: str | None) -> int | None:
    try:
        return None if text is None else parse_bytes(text)
    except ConfigError as error:
        raise ConfigError(f"LMSTRIX_MEMORY_BUDGET is {error}", hint=error.hint) from error


def _log_level(text: str | None) -> str:
    level = (text or "warning").lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise ConfigError(
            f"LMSTRIX_LOG is unknown: `{text}`",
            hint="it is one of `debug`, `info`, `warning`, `error`",
        )
    return level


def _models_dirs(text: str | None, home: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    if text:
        return tuple(Path(part).expanduser().absolute() for part in text.split(os.pathsep) if part)
    return (_lmstudio_home(environ) / "models", home / "models")


def _lmstudio_home(environ: Mapping[str, str]) -> Path:
    # LM Studio writes its folder's path into this pointer file when the user has moved it.
    user = Path(environ.get("HOME") or Path.home())
    pointer = user / ".lmstudio-home-pointer"
    try:
        moved = pointer.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        moved = ""
    return Path(moved) if moved else user / ".lmstudio"
