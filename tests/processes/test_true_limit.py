"""The installed program on a real model, as a user runs it: the limit it finds is the true one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LMSTRIX = str(Path(sys.executable).with_name("lmstrix"))


@pytest.fixture(scope="module")
def run(gemma_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what runs `lmstrix` over one home with gemma-3-270m in it, and reads its JSON."""
    environment = {
        **os.environ,
        "LMSTRIX_HOME": str(tmp_path_factory.mktemp("home")),
        "LMSTRIX_MODELS_DIR": str(gemma_file.parent),
        "LMSTRIX_BACKEND": "llamacpp",
    }

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [LMSTRIX, *arguments, "--json"], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def budget(run: Any) -> int:
    """A budget that holds a little more than 4 096 tokens, taken from a measurement."""
    [report] = run("test", "gemma", "--ctx", "4096", "--proof", "load")["reports"]
    [probe] = report["probes"]
    return int(probe["memory_bytes"]) + 12 * 2**20


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_window_found_is_filled_and_the_next_step_fails(run: Any, budget: int) -> None:
    """Under a budget that binds, what is reported passed, and one step more does not."""
    [report] = run("test", "gemma", "--memory-budget", str(budget))["reports"]
    limits = report["limits"]

    usable, refuted = limits["usable"], limits["refuted"]
    assert 4_096 <= usable < refuted <= usable + 1_024 <= 32_768
    [filled] = [p for p in report["probes"] if p["requested"] == usable and p["proof"] == "fill"]
    assert filled["outcome"] == "passed"
    assert usable - 32 - 24 <= filled["prompt_tokens"] <= usable - 32
    assert limits["efficiency"] == pytest.approx(usable / 32_768)
    [failed] = [
        p for p in report["probes"] if p["requested"] == refuted and p["outcome"] != "passed"
    ]
    assert failed["outcome"] in {"out-of-memory", "crashed"}
    assert failed["detail"]

    answer = run(
        "infer", "The capital of France is", "gemma", "--in_ctx", str(usable), "--out_ctx", "8",
        "--temperature", "0", "--memory-budget", str(budget),
    )  # fmt: skip
    assert answer["effective_context"] == usable
    assert answer["completion_tokens"] == 8
