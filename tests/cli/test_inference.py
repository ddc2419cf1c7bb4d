"""`infer`: the answer on stdout, everything else on stderr."""

import re
from typing import Any

import pytest

from cli.conftest import Recorder, Run
from lmstrix.cli.infer import Speaker
from lmstrix.testing import FakeBackend
from lmstrix.values import Completion, Event


def test_answer_alone_goes_to_stdout_and_the_status_to_stderr(run: Run) -> None:
    """The words are those that scripts know, also from before."""
    result = run("infer", "What is it?", "tiny", "--in_ctx", "8k")

    assert result.stdout == "forty-two\n"
    assert re.fullmatch(
        r"Loading tiny at context 8192\.\.\. \(explicit --in_ctx\)\n"
        r"Model loaded in 2\.0s\n"
        r"Running inference\.\.\.\n"
        r"Inference completed in \d+\.\ds \(3 tokens, 50\.0 tok/s\)\n",
        result.stderr,
    )


def test_loaded_copy_is_reused_and_that_is_said(run: Run, backend: FakeBackend) -> None:
    """Loading takes long; a user wants to know why this time it did not."""
    backend.preload("tiny", 8_192)

    result = run("infer", "What is it?", "tiny", "--in_ctx", "8192")

    assert result.stderr.splitlines()[0] == "Reusing tiny, already loaded at context 8192"


def test_json_is_the_completion_and_reads_back(run: Run) -> None:
    """Text and figures in one document."""
    completion = Completion.model_validate_json(run("infer", "x", "tiny", "--json").stdout)

    assert completion.text == "forty-two"
    assert completion.completion_tokens == 3


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        (["--in_ctx", "auto"], {"in_ctx": None}),
        (["--in_ctx", "0"], {"in_ctx": 0}),
        (["--in-ctx=8K"], {"in_ctx": 8_192}),
        (["--out_ctx", "1k"], {"out_ctx": 1_024}),
        (["--out-ctx", "12.5%"], {"out_ctx": "12.5%"}),
        (["--system", "be short"], {"system": "be short"}),
        (["--temperature", "0.5"], {"temperature": 0.5}),
        (["--top_p", "0.9"], {"top_p": 0.9}),
        (["--top_k", "40"], {"top_k": 40}),
        (["--min_p", "0.1"], {"min_p": 0.1}),
        (["--repeat-penalty", "1.1"], {"repeat_penalty": 1.1}),
        (["--seed", "-1"], {"seed": -1}),
        (["--stop", "a", "--stop", "--"], {"stop": ("a", "--")}),
        (["--force_reload"], {"force_reload": True}),
        (["--raw"], {"raw": True}),
        (["--memory-budget", "3g"], {"budget_bytes": 3 << 30}),
        (["--timeout", "5"], {"timeout_s": 5.0}),
        ([], {"in_ctx": None, "out_ctx": None, "raw": None, "stop": (), "temperature": None}),
    ],
)
def test_every_option_reaches_the_engine(
    run: Run, strix: Recorder, args: list[str], asked: dict[str, Any]
) -> None:
    """An option that is shown must do what it says."""
    assert run("infer", "x", "tiny", *args).exit_code == 0
    assert strix.asked.items() >= asked.items()


@pytest.mark.parametrize("args", [("-", "tiny"), ()])
def test_prompt_is_read_from_a_pipe(run: Run, strix: Recorder, args: tuple[str, ...]) -> None:
    """`echo … | lmstrix infer` adds a line break that nobody typed."""
    run("infer", "x", "tiny")

    assert run("infer", *args, stdin="Zwölf\nBoxkämpfer\n".encode()).exit_code == 0
    assert strix.asked["prompt"] == "Zwölf\nBoxkämpfer"


def test_prompt_from_a_pipe_that_is_not_text_is_refused(run: Run) -> None:
    """Half a binary file is nobody's question."""
    result = run("infer", "-", "tiny", stdin=b"\xff\xfe")

    assert result.exit_code == 2
    assert result.stderr.startswith("error: the prompt on stdin is not UTF-8")


def test_model_that_is_left_out_is_the_last_one_used(run: Run, strix: Recorder) -> None:
    """A second question is usually for the same model."""
    run("infer", "x", "tiny")

    assert run("infer", "and now?").exit_code == 0
    assert strix.asked["model"] == ""


def test_answer_that_was_cut_is_said_to_be_cut(run: Run) -> None:
    """Half an answer may look whole."""
    result = run("infer", "x", "tiny", "--out_ctx", "1")

    assert result.stderr.endswith(
        "warning: the answer was cut, it was as long as `--out_ctx` allows\n"
    )


def test_warnings_of_the_engine_are_shown(run: Run) -> None:
    """What the engine finds odd, the user must see."""
    run("test", "[a]", "--ctx", "4k")

    result = run("infer", "x", "[a]", "--in_ctx", "8k")
    assert "warning: 8,192 tokens were asked for, 4,096 is the most that was seen" in result.stderr


def test_streaming_writes_the_answer_once_and_ends_its_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A status line in the middle of the answer's last line would be read as part of it."""
    speaker = Speaker(stream=True)

    for event in (
        Event(kind="prefill", message="Running inference..."),
        Event(kind="text", text="forty"),
        Event(kind="text", text="-two"),
        Event(kind="finished", message="Inference completed"),
    ):
        speaker(event)

    said = capsys.readouterr()
    assert said.out == "forty-two\n"
    assert said.err == "Running inference...\nInference completed\n"
    speaker.end_line()
    assert capsys.readouterr().out == ""
