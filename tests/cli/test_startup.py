"""Starting is quick, since nothing is imported that is not needed."""

import subprocess
import sys

import pytest

from benchmarks.startup import BARE, commands, medians, unmeasured

HEAVY = {"mcp", "lmstudio", "xllamacpp", "httpx", "rich", "pydantic", "lmstrix.app", "sqlite3"}


@pytest.mark.parametrize(
    "code",
    [
        "import lmstrix.cli",
        "from lmstrix.cli import cli\ncli.main(['--help'])",
    ],
)
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    """Each of these costs more than all the rest of `--help`."""
    program = (
        f"import sys, atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{code}"
    )

    result = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=unmeasured(),
    )

    loaded = set(result.stderr.split())
    assert "click" in loaded
    assert loaded & HEAVY == set()


def test_help_takes_at_most_eight_times_as_long_as_the_bare_interpreter() -> None:
    """A tool that is asked often must answer at once; a ratio holds on any machine."""
    compared = {name: commands()[name] for name in (BARE, "lmstrix --help")}

    found = medians(compared, runs=9)

    assert found["lmstrix --help"] / found[BARE] <= 8
