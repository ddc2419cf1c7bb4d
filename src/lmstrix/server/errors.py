"""Our errors in the words of MCP: the only place where they are translated.

Hints name commands and options. A model has tools and arguments, so here it reads
`test_context(model="m", force=true)` where a person reads `lmstrix test m --force`.
"""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from lmstrix.errors import LMStrixError

_TOOLS: Final = {
    "infer": "infer",
    "list": "list_models",
    "scan": "list_models",
    "test": "test_context",
}
_ARGUMENTS: Final = {
    "ctx": "context",
    "force": "force",
    "in_ctx": "in_ctx",
    "out_ctx": "out_ctx",
    "proof": "proof",
    "sort": "sort",
    "threshold": "threshold",
}
"""Options that tools have too, and how they are called there; `model` is told without a name."""

_COMMAND: Final = re.compile(r"`lmstrix (\w+)(?: ([^-`\s][^`\s]*))?((?: --[^`]+)?)`")
_OPTION: Final = re.compile(r"--(\w+)(?: ([^-`\s][^`\s]*))?")


def explain(error: LMStrixError) -> str:
    """Return the problem and, on a line of its own, the remedy."""
    if not error.hint:
        return str(error)
    hint = _COMMAND.sub(_call, error.hint)
    return f"{error}\nhint: {_OPTION.sub(_argument, hint)}"


@contextmanager
def explained(kind: type[ToolError | ResourceError] = ToolError) -> Generator[None]:
    """Turn our errors into `kind`, whose text the calling model reads and can act upon."""
    try:
        yield
    except LMStrixError as error:
        raise kind(explain(error)) from error


def _call(command: re.Match[str]) -> str:
    name, model, options = command.groups()
    if name not in _TOOLS:
        return command[0]
    arguments = [f"model={_literal(model)}"] if model else []
    arguments += ["refresh=true"] if name == "scan" else []
    arguments += [
        f"{_ARGUMENTS.get(option, option)}={_literal(value or 'true')}"
        for option, value in _OPTION.findall(options)
    ]
    return f"`{_TOOLS[name]}({', '.join(arguments)})`" if arguments else f"`{_TOOLS[name]}`"


def _argument(option: re.Match[str]) -> str:
    name, value = option.groups()
    if name not in _ARGUMENTS:
        return option[0]
    return _ARGUMENTS[name] + (f"={_literal(value)}" if value else "")


def _literal(value: str) -> str:
    return value if value.isdecimal() or value == "true" else f'"{value}"'
