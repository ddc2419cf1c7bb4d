"""Settings and sizes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.errors import ConfigError, RequestError
from lmstrix.settings import Settings
from lmstrix.sizes import parse_bytes, parse_tokens, show_bytes


def test_option_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    """Precedence is the contract's, and each value knows where it came from."""
    config = tmp_path / "config.toml"
    config.write_text('backend = "lmstudio"\nmemory_budget = "1GiB"\nlog = "info"\n', "utf-8")
    environ = {"LMSTRIX_BACKEND": "auto", "LMSTRIX_MEMORY_BUDGET": "2GiB"}

    settings = Settings.read(
        environ=environ, config_file=config, memory_budget="3GiB", home=tmp_path
    )

    assert settings.memory_budget == 3 * 2**30
    assert settings.backend == "auto"
    assert settings.log == "info"
    assert settings.sources == {
        "home": "option",
        "backend": "environment",
        "lmstudio_host": "default",
        "api_token": "default",
        "models_dir": "default",
        "prompts_dir": "default",
        "memory_budget": "option",
        "log": "config.toml",
    }


def test_the_token_is_read_and_never_shown() -> None:
    """A token in a traceback or a log would be a token lost."""
    settings = Settings.read(environ={"LM_API_TOKEN": "sk-secret"}, config_file=Path("none"))

    assert settings.api_token == "sk-secret"  # noqa: S105 - made up
    assert "secret" not in repr(settings)


def test_models_folders_follow_lm_studio_where_the_user_moved_it(tmp_path: Path) -> None:
    """LM Studio leaves a pointer when its folder is moved; the models are there."""
    (tmp_path / ".lmstudio-home-pointer").write_text(f"{tmp_path / 'moved'}\n", encoding="utf-8")

    settings = Settings.read(
        environ={"HOME": str(tmp_path)}, config_file=tmp_path / "none", home=tmp_path / "home"
    )

    assert settings.models_dirs == (tmp_path / "moved" / "models", tmp_path / "home" / "models")


def test_models_dir_lists_folders_by_the_path_separator(tmp_path: Path) -> None:
    """As with PATH, one variable names several folders."""
    settings = Settings.read(environ={"LMSTRIX_MODELS_DIR": "/a:/b"}, config_file=tmp_path / "none")

    assert settings.models_dirs == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('backend = "ollama"', "LMSTRIX_BACKEND is unknown"),
        ('log = "loud"', "LMSTRIX_LOG is unknown"),
        ('memory_budget = "much"', "LMSTRIX_MEMORY_BUDGET is not a size"),
        ('colour = "red"', "unknown setting"),
        ("backend = ", "not valid TOML"),
    ],
)
def test_a_setting_that_cannot_be_used_is_an_error(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt setting that is ignored is a setting the user believes in."""
    config = tmp_path / "config.toml"
    config.write_text(text, encoding="utf-8")

    with pytest.raises(ConfigError, match=said):
        Settings.read(environ={}, config_file=config)


def test_a_config_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """A folder in its place cannot be opened, and must not pass for no settings."""
    with pytest.raises(ConfigError, match="cannot be read"):
        Settings.read(environ={}, config_file=tmp_path)


@given(st.integers(min_value=1, max_value=2**50))
def test_whole_sizes_survive_every_unit(size: int) -> None:
    """A size in any unit is the number of bytes it says."""
    assert parse_bytes(str(size)) == size
    assert parse_bytes(f"{size} KiB") == size * 1024
    assert parse_tokens(f"{size}k") == size * 1024


@pytest.mark.parametrize("text", ["", "0", "-1", "GiB", "1 parsec", "1e9", "1_000"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """No guess is made at what a size might have meant."""
    with pytest.raises(ConfigError, match="not a size"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["", "-8", "8.5k", "8kk", "auto"])
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    """A context is a whole number of tokens."""
    with pytest.raises(RequestError, match="not a number of tokens"):
        parse_tokens(text)


def test_sizes_are_shown_in_the_unit_that_fits() -> None:
    """People read 1.5 GiB, not 1610612736."""
    assert [show_bytes(n) for n in (512, 1536, 2**30, 3 * 2**41)] == [
        "512 B",
        "1.5 KiB",
        "1.0 GiB",
        "6.0 TiB",
    ]
