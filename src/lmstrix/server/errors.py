"""Our errors in the words of MCP: the only place where they are translated."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from mcp.server.mcpserver.exceptions import ResourceError, ToolError

from lmstrix.errors import LMStrixError

_REMEDIES: Final = {
    "`lmstrix list`": "`list_models`",
    "`lmstrix scan`": "`list_models` with `refresh` true",
    "`--": "`",
}
"""What a hint says for the command line, and for a model. Options are named like arguments."""


def explain(error: LMStrixError) -> str:
    """Return the problem and, on a line of its own, the remedy."""
    if not error.hint:
        return str(error)
    hint = error.hint
    for command, tool in _REMEDIES.items():
        hint = hint.replace(command, tool)
    return f"{error}\nhint: {hint}"


@contextmanager
def explained(kind: type[ToolError | ResourceError] = ToolError) -> Generator[None]:
    """Turn our errors into `kind`, whose text the calling model reads and can act upon."""
    try:
        yield
    except LMStrixError as error:
        raise kind(explain(error)) from error
