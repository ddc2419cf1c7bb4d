"""Kill a search at random moments, and let it go on: `python tests/benchmarks/resume.py`.

The installed program searches a generated model on real llama.cpp under a budget that binds, and is
killed with SIGKILL at a moment drawn evenly over the time an undisturbed search takes. The same
command is then run again. It must end at the limit of an undisturbed search, or at a lower one if a
size that was under test when it was killed was left alone; and the registry must verify.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from backends.gguf_files import write_tiny_gguf
from lmstrix.clock import SystemClock
from lmstrix.registry import open_registry

LMSTRIX: Final = str(Path(sys.executable).with_name("lmstrix"))
SEARCH: Final = ("test", "heavy", "--proof=load", "--memory-budget=1GiB", "--json")


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """One search that was killed and run again. Contexts in tokens, the moment in seconds."""

    moment: float
    limit: int
    interrupted: tuple[int, ...]
    kept: int
    probes: int
    problems: tuple[str, ...]

    def verdict(self, undisturbed: int) -> str:
        """Return `same`, `lower` where that is right, or `WRONG`."""
        if self.problems or self.limit > undisturbed:
            return "WRONG"
        if self.limit == undisturbed:
            return "same"
        barred = any(self.limit < size for size in self.interrupted)
        return "lower" if barred else "WRONG"


def search(environment: dict[str, str]) -> Any:
    """Run the search to its end; return its report."""
    done = subprocess.run(
        [LMSTRIX, *SEARCH], env=environment, capture_output=True, check=True, text=True
    )
    [report] = json.loads(done.stdout)["reports"]
    return report


def kill_and_resume(environment: dict[str, str], home: Path, moment: float) -> Resumed:
    """Kill a search after that many seconds, run it again, and look at what is left."""
    process = subprocess.Popen(
        [LMSTRIX, *SEARCH], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(moment)
    process.kill()
    process.wait()
    before = recorded(home)
    report = search(environment)
    registry = open_registry(home, SystemClock())
    problems = tuple(registry.verify())
    everything = registry.probes()
    registry.close()
    return Resumed(
        moment=moment,
        limit=report["limits"]["loadable"],
        interrupted=tuple(p.requested for p in everything if p.outcome == "interrupted"),
        kept=before,
        probes=len(everything),
        problems=problems,
    )


def recorded(home: Path) -> int:
    """Return how many probes are in the registry, which may not be there so far."""
    if not (home / "registry.sqlite3").exists():
        return 0
    registry = open_registry(home, SystemClock())
    count = len(registry.probes())
    registry.close()
    return count


def main(arguments: Sequence[str]) -> int:
    """Print what came of each kill; return 1 if any ended wrongly."""
    parser = argparse.ArgumentParser(description="Kill searches at random moments; resume them.")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=5)
    chosen = parser.parse_args(arguments)
    chance = random.Random(chosen.seed)  # noqa: S311 - repeatable on purpose, and no secret
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        write_tiny_gguf(
            models / "heavy-f16.gguf", context_length=131_072, layers=8, kv_heads=8, head_size=128
        )
        environment = {**os.environ, "LMSTRIX_MODELS_DIR": str(models)}
        environment |= {"LMSTRIX_BACKEND": "llamacpp", "LMSTRIX_HOME": str(Path(folder) / "calm")}
        began = time.monotonic()
        undisturbed = search(environment)["limits"]["loadable"]
        lasted = time.monotonic() - began
        print(f"undisturbed: {undisturbed:,} tokens in {lasted:.1f} s")
        counted: Counter[str] = Counter()
        for number in range(chosen.kills):
            home = Path(folder) / str(number)
            moment = chance.uniform(0, lasted)
            resumed = kill_and_resume(environment | {"LMSTRIX_HOME": str(home)}, home, moment)
            verdict = resumed.verdict(undisturbed)
            counted[verdict] += 1
            print(
                f"{moment:5.2f} s: {resumed.kept} probes kept, interrupted "
                f"{resumed.interrupted or '-'}, {resumed.probes} in all, "
                f"{resumed.limit:,} tokens: {verdict} {'; '.join(resumed.problems)}",
                flush=True,
            )
        print(", ".join(f"{count} {verdict}" for verdict, count in counted.items()))
    return 1 if counted["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
