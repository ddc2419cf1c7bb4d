"""How long the command line takes to say hello: `python tests/benchmarks/startup.py`.

Runs are interleaved and compared by their medians, so that a busy machine slows all alike.
"""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which
from statistics import median

RUNS = 15
BARE = "python -c pass"


def commands() -> Mapping[str, Sequence[str]]:
    """Return the command lines compared, by name; the bare interpreter comes first."""
    script = which("lmstrix", path=str(Path(sys.executable).parent))
    if script is None:
        raise SystemExit("lmstrix is not installed beside this interpreter")
    return {
        BARE: [sys.executable, "-c", "pass"],
        "import click": [sys.executable, "-c", "import click"],
        "lmstrix --version": [script, "--version"],
        "lmstrix --help": [script, "--help"],
        "lmstrix test --help": [script, "test", "--help"],
    }


def unmeasured() -> Mapping[str, str]:
    """Return our environment without coverage's, which would start with every process."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def medians(compared: Mapping[str, Sequence[str]], runs: int = RUNS) -> Mapping[str, float]:
    """Return the median duration of each command, in seconds."""
    taken: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(runs):
        for name, command in compared.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=unmeasured())
            taken[name].append(time.perf_counter() - began)
    return {name: median(durations) for name, durations in taken.items()}


def main() -> None:
    """Print a table."""
    found = medians(commands())
    print(f"{'command':<22} {'ms':>6} {'ratio':>6}   median of {RUNS} interleaved runs")
    for name, seconds in found.items():
        print(f"{name:<22} {seconds * 1000:6.0f} {seconds / found[BARE]:6.1f}")


if __name__ == "__main__":
    main()
