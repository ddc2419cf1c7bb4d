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

    def run(*arguments: str, code: int = 0) -> Any:
        done = subprocess.run(
            [LMSTRIX, *arguments, "--json"], env=environment, capture_output=True, check=False
        )
        assert done.returncode == code, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def budget(run: Any) -> int:
    """A budget in which some 7 000 tokens can be filled, taken from a measurement."""
    [report] = run("test", "gemma", "--ctx", "4096", "--proof", "load")["reports"]
    [probe] = report["probes"]
    return int(probe["memory_bytes"]) + 40 * 2**20


@pytest.mark.real
@pytest.mark.timeout(600)
def test_the_window_found_is_filled_and_a_larger_one_fails(run: Any, budget: int) -> None:
    """Under a budget that binds, what is reported passed, and what needs more memory does not."""
    [report] = run("test", "gemma", "--memory-budget", str(budget))["reports"]
    limits = report["limits"]

    usable = limits["usable"]
    assert 4_096 < usable < 12_288
    [filled] = [p for p in report["probes"] if p["requested"] == usable and p["proof"] == "fill"]
    assert filled["outcome"] == "passed"
    assert usable - 32 - 24 <= filled["prompt_tokens"] <= usable - 32
    assert [stair["depth"] for stair in filled["stairs"]][-1] == filled["prompt_tokens"]
    assert limits["efficiency"] == pytest.approx(usable / 32_768)
    assert {p["outcome"] for p in report["probes"]} == {"passed"}

    larger = str(usable + 8_192)
    failed = run("test", "gemma", "--ctx", larger, "--memory-budget", str(budget), code=1)
    [probe] = failed["reports"][0]["probes"]
    assert probe["outcome"] in {"out-of-memory", "crashed"}
    assert probe["detail"]

    answer = run(
        "infer", "The capital of France is", "gemma", "--in_ctx", str(usable), "--out_ctx", "8",
        "--temperature", "0", "--memory-budget", str(budget),
    )  # fmt: skip
    assert answer["effective_context"] == usable
    assert answer["completion_tokens"] == 8
