"""Text stays text, whatever it looks like, and options are found however they are written."""

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lmstrix.cli.command import TextCommand

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


def parse(*args: str) -> tuple[int, dict[str, object]]:
    """Return the exit code and the parameters that a command gets from `args`."""
    got: dict[str, object] = {}

    @click.command(cls=TextCommand)
    @click.argument("prompt")
    @click.argument("model", default="")
    @click.option("--in_ctx")
    @click.option("--no-stream", is_flag=True)
    def command(**parameters: object) -> None:
        got.update(parameters)

    return CliRunner().invoke(command, args).exit_code, got


@given(prompt=WORDS)
def test_whatever_follows_a_double_dash_is_the_prompt(prompt: str) -> None:
    """There must be a way to pass any text at all."""
    assert parse("--no-stream", "--", prompt)[1]["prompt"] == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "2024",
        "[a]",
        "-",
        "-5 + 3 = ?",
        "--- title",
        "--help me please",
        "--in_ctx is odd",
        "",
        "--1",
    ],
)
def test_text_that_is_no_option_is_the_prompt(prompt: str) -> None:
    """A prompt is text; nobody should have to think of a double dash."""
    code, got = parse(prompt, "--in_ctx", "1", "gemma")

    assert code == 0
    assert (got["prompt"], got["model"], got["in_ctx"]) == (prompt, "gemma", "1")


@given(value=WORDS)
def test_value_of_an_option_is_left_as_it_is(value: str) -> None:
    """Hyphens for underscores is a matter of names: a value, even `--in-ctx` or `--`, is kept."""
    assert parse("--in_ctx", value, "x")[1]["in_ctx"] == value
    assert parse(f"--in-ctx={value}", "x")[1]["in_ctx"] == value


@pytest.mark.parametrize("flag", ["--no-stream", "--no_stream"])
@pytest.mark.parametrize("option", ["--in_ctx", "--in-ctx"])
def test_underscore_and_hyphen_name_the_same_option(flag: str, option: str) -> None:
    """Scripts and people write both."""
    code, got = parse("say_it", flag, option, "a_b")

    assert code == 0
    assert got == {"prompt": "say_it", "model": "", "in_ctx": "a_b", "no_stream": True}


@pytest.mark.parametrize("args", [["x", "--in_cxt", "1"], ["x", "-q"], ["x", "--in_ctx"]])
def test_mistyped_option_is_a_mistake_and_not_a_prompt(args: list[str]) -> None:
    """A silent change of meaning would be worse than an error."""
    code, got = parse(*args)

    assert (code, got) == (2, {})
