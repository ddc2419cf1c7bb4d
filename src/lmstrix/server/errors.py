"""Our errors in the words of MCP: the only place where they are translated.

Hints name commands and options. A model has tools and arguments, so here it reads
`test_context(model="m", force=true)` where a person reads `lmstrix test m --force`. What no tool
can do is left as it is, and said to be the user's to do.
"""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Final

from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from lmstrix.errors import LMStrixError

_OF_TESTS: Final = {name: name for name in ("proof", "threshold", "unload_others", "dry_run")}
_TOOLS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "infer": (
        "infer",
        {name: name for name in ("in_ctx", "out_ctx", "system", "temperature", "force_reload")},
    ),
    "list": ("list_models", {"filter": "query", "sort": "sort"}),
    "scan": ("list_models", {}),
    "test": (
        "test_context",
        _OF_TESTS | {"ctx": "context", "force": "force", "strategy": "strategy"},
    ),
    "test --all": ("test_all", _OF_TESTS | {"filter": "query", "reset": "retest"}),
}
"""The tool behind each command, and what its options are called there; all else it has not."""

_ARGUMENTS: Final = {
    option: argument for _, options in _TOOLS.values() for option, argument in options.items()
}
"""The arguments of all tools, for an option that is named without its command."""

_SETTINGS: Final = {"memory_budget": "LMSTRIX_MEMORY_BUDGET"}
"""Options that can also be set for the server; a value is left out, for none can be given."""

_LITERAL: Final = re.compile(r"`([^`]*)`")
_COMMAND: Final = re.compile(r"lmstrix (test --all|\w+)(?: ([^-\s\"]\S*|\"[^\"]+\"))?((?: --.+)?)")
_OPTION: Final = re.compile(r"(?<![^\s`])--(\w[\w-]*)(?: (\"[^\"`]*\"|[^-`\s][^`\s]*))?")

_USERS_OPTION: Final = "only the user can, by running `lmstrix`: no tool takes that option"
_USERS_SETTING: Final = "settings are the user's to make, in the environment of this server"


def explain(error: LMStrixError) -> str:
    """Return the problem and, on a line of its own, the remedy."""
    return f"{error}\nhint: {_translated(error.hint)}" if error.hint else str(error)


@contextmanager
def explained(kind: type[ToolError | ResourceError] = ToolError) -> Generator[None]:
    """Turn our errors into `kind`, whose text the calling model reads and can act upon."""
    try:
        yield
    except LMStrixError as error:
        raise kind(explain(error)) from error


def _translated(hint: str) -> str:
    told = _LITERAL.sub(_literal_told, hint)
    if _OPTION.search(told):
        return f"{told}; {_USERS_OPTION}"
    return f"{told}; {_USERS_SETTING}" if "LMSTRIX_" in told else told


def _literal_told(literal: re.Match[str]) -> str:
    """Return `literal` as a call, if it is a command, or else with arguments for its options."""
    text = literal[1]
    if text.startswith("lmstrix "):
        command = _COMMAND.fullmatch(text)
        text = (command and _call(command)) or text
    else:
        text = _OPTION.sub(_argument, text)
    return f"`{text}`"


def _call(command: re.Match[str]) -> str | None:
    """Return the call of a tool that does what `command` does, or None if there is none."""
    name, subject, text = command.groups()
    tool, known = _TOOLS.get(name, (None, {}))
    options = [(_name(option), value) for option, value in _OPTION.findall(text)]
    if tool is None or any(option not in known for option, _ in options):
        return None
    first = "prompt" if name == "infer" else "model"
    arguments = [f"{first}={_quoted(subject)}"] if subject else []
    arguments += ["refresh=true"] if name == "scan" else []
    arguments += [f"{known[option]}={_quoted(value or 'true')}" for option, value in options]
    return f"{tool}({', '.join(arguments)})" if arguments else tool


def _argument(option: re.Match[str]) -> str:
    name, value = _name(option[1]), option[2]
    if name in _SETTINGS:
        return _SETTINGS[name]
    if name not in _ARGUMENTS:
        return option[0]
    return _ARGUMENTS[name] + (f"={_quoted(value)}" if value else "")


def _name(option: str) -> str:
    return option.replace("-", "_")


def _quoted(value: str) -> str:
    return value if value.isdecimal() or value == "true" or value[0] == '"' else f'"{value}"'
