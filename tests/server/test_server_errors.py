"""Our errors as a model reads them."""

import pytest
from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from lmstrix.errors import LMStrixError, RequestError
from lmstrix.server.errors import explain, explained


@pytest.mark.parametrize(
    ("hint", "told"),
    [
        ("did you mean `qwen3-8b`?", "did you mean `qwen3-8b`?"),
        ("`lmstrix list` shows the models", "`list_models` shows the models"),
        ("run `lmstrix scan` again", "run `list_models(refresh=true)` again"),
        (
            "`lmstrix test qwen3-8b --force` tries again",
            '`test_context(model="qwen3-8b", force=true)` tries again',
        ),
        ("`lmstrix test m --ctx 8192`", '`test_context(model="m", context=8192)`'),
        ("see `lmstrix list --sort ctxd`", 'see `list_models(sort="ctxd")`'),
        ("load it with `--in_ctx 8192`", "load it with `in_ctx=8192`"),
        ("with a larger `--in_ctx`", "with a larger `in_ctx`"),
        ("`--proof fill` is the strongest", '`proof="fill"` is the strongest'),
        ("`--strategy certify` does without it", '`strategy="certify"` does without it'),
        ("free memory, or `--unload-others`", "free memory, or `unload_others`"),
        ("`lmstrix test --all --reset` tests again", "`test_all(retest=true)` tests again"),
        ("`lmstrix test --all --filter qwen`", '`test_all(query="qwen")`'),
        ('say something: `lmstrix infer "Why?"`', 'say something: `infer(prompt="Why?")`'),
        ("`lmstrix doctor` knows more", "`lmstrix doctor` knows more"),
        ("mend /home/a/--b", "mend /home/a/--b"),
    ],
)
def test_hint_names_tools_instead_of_commands(hint: str, told: str) -> None:
    """A model cannot run commands; what has no tool is left for its user to do."""
    assert explain(LMStrixError("trouble", hint=hint)) == f"trouble\nhint: {told}"


@pytest.mark.parametrize(
    "hint",
    [
        "allow it more with `--timeout`",
        '`--prompt "What is the capital of France?" --expect Paris`',
        "`lmstrix test m --force --kv-type q8_0` takes less",
        "`lmstrix test m --reset` measures afresh",
    ],
)
def test_option_that_no_tool_has_is_said_to_be_the_users(hint: str) -> None:
    """A model would pass it on as an argument, be refused, and try the next name."""
    told = explain(LMStrixError("trouble", hint=hint))

    assert told == (
        f"trouble\nhint: {hint}; only the user can, by running `lmstrix`: no tool takes that option"
    )


@pytest.mark.parametrize("name", ["`--memory-budget 6GiB`", "`LMSTRIX_MEMORY_BUDGET`"])
def test_budget_is_named_as_the_setting_that_a_server_has(name: str) -> None:
    """A client cannot set it, but its user can, where the server is configured."""
    told = explain(LMStrixError("trouble", hint=f"allow it more with {name}"))

    assert told == (
        "trouble\nhint: allow it more with `LMSTRIX_MEMORY_BUDGET`; "
        "settings are the user's to make, in the environment of this server"
    )


def test_error_without_a_remedy_is_told_in_one_line() -> None:
    """An empty hint would only raise hopes."""
    assert explain(LMStrixError("trouble")) == "trouble"


@pytest.mark.parametrize("kind", [ToolError, ResourceError])
def test_only_our_own_errors_are_told(kind: type[ToolError | ResourceError]) -> None:
    """Anything else is a bug: its text is for the log, and the SDK keeps it from the client."""
    with pytest.raises(kind, match="no such thing"), explained(kind):
        raise RequestError("no such thing")
    with pytest.raises(KeyError), explained(kind):
        raise KeyError("/home/secret")
