"""What `--help` says is what there is."""

import shlex
from importlib import import_module

import click
import pytest

from cli.conftest import Run
from lmstrix import __version__
from lmstrix.cli import COMMANDS, cli


def commands() -> dict[str, click.Command]:
    """Return every command, by name."""
    return {name: import_module(module).command for name, (module, _) in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_list_of_commands_says_what_the_command_says_of_itself(name: str) -> None:
    """The list is written by hand, so that it can be shown without importing the commands."""
    text = commands()[name].help or ""

    assert commands()[name].name == name
    assert text.splitlines()[0] == COMMANDS[name][1]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_ends_with_an_example_that_parses(name: str) -> None:
    """An example that does not work is worse than none."""
    [example] = [line for line in (commands()[name].help or "").splitlines() if "Example:" in line]
    words = shlex.split(example.split("Example: lmstrix ")[1])

    context = cli.make_context("lmstrix", [words[0], *words[1:]])
    commands()[name].make_context(name, words[1:], parent=context)
    assert words[0] == name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    """A name alone leaves too much to guess."""
    options = [option for option in commands()[name].params if isinstance(option, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_help_lists_every_command(run: Run) -> None:
    """The first thing a person asks for."""
    result = run("--help")

    assert result.exit_code == 0
    for name, (_, line) in COMMANDS.items():
        assert f"  {name}" in result.stdout
        assert line in result.stdout


def test_version_is_the_version_of_the_package(run: Run) -> None:
    """The first thing a maintainer asks for."""
    assert run("--version").stdout == f"lmstrix {__version__}\n"
