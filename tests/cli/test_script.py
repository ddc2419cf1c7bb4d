"""The installed script: what only a process of its own can show."""

import json
import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

from lmstrix import __version__

SCRIPT = which("lmstrix", path=str(Path(sys.executable).parent)) or "lmstrix is not installed"


def run(*args: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the script with llama.cpp, where there is no model yet."""
    return subprocess.run(
        [SCRIPT, *args],
        check=False,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "LMSTRIX_BACKEND": "llamacpp", **environ},
    )


def test_script_and_module_are_the_same_program() -> None:
    """`python -m lmstrix` serves where scripts are not on the path."""
    module = subprocess.run(
        [sys.executable, "-m", "lmstrix", "--help"], check=True, capture_output=True, text=True
    )

    assert run("--help").stdout == module.stdout
    assert run("--version").stdout == f"lmstrix {__version__}\n"


def test_streams_are_kept_apart(tmp_path: Path) -> None:
    """Data on stdout, everything else on stderr, also when there are no data."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUX")

    found = run("scan", "--json", LMSTRIX_MODELS_DIR=str(tmp_path))

    assert found.returncode == 0
    assert json.loads(found.stdout) == {"models": [], "total": 0, "next_offset": None}
    assert "broken.gguf" in found.stderr


def test_exit_codes_are_those_of_the_contract(own_home: Path) -> None:
    """Scripts branch on them."""
    assert run("list").returncode == 0
    assert run("test", "nothing").returncode == 2
    assert (
        run("list", LMSTRIX_BACKEND="lmstudio", LMSTRIX_HOME=str(own_home / "new")).returncode == 3
    )
    (own_home / "registry.sqlite3").write_text("a poem", encoding="utf-8")
    assert run("list").returncode == 4


def test_full_disk_behind_stdout_is_an_error_and_no_traceback() -> None:
    """What could not be written is not there, and 1 would mean that no context works."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        found = subprocess.run(
            [SCRIPT, "--help"], check=False, stdout=full, stderr=subprocess.PIPE, text=True
        )

    assert found.returncode == 74
    assert found.stderr == "error: the output cannot be written: No space left on device\n"


def test_text_that_the_encoding_lacks_does_not_end_the_run() -> None:
    """A model may be asked for anything; an old terminal must survive the answer."""
    told = run("test", "whale-🐋", PYTHONIOENCODING="cp1252", PYTHONUTF8="0")

    assert told.returncode == 2
    assert "`whale-\\U0001f40b`" in told.stderr


def test_mcp_serves_until_its_input_ends_and_prints_nothing_of_its_own() -> None:
    """Stdout belongs to the protocol; a host that leaves is no error."""
    served = run("mcp")

    assert (served.returncode, served.stdout) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("lmstrix li", "plain,list"), ("lmstrix test --mem", "plain,--memory-budget")],
)
def test_shell_completes_commands_and_options(typed: str, offered: str) -> None:
    """The frame is not click's own, but click's completion works in it."""
    number = str(len(typed.split()) - 1)

    told = run(_LMSTRIX_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=number)

    assert told.stdout.split() == [offered]
