"""Arguments that a tool does not have, or cannot take, are refused in words a model can act upon.

The SDK drops arguments it does not know without a word, and reports values it cannot take in the
words of its validator.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, TextContent
from pydantic import ValidationError


class ArgumentCheck:
    """Middleware that answers a call of one of `tools` itself if its arguments are wrong."""

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Pass the request on, unless it is a call that cannot succeed."""
        params = ctx.params or {}
        tool = self._tools.get(str(params.get("name"))) if ctx.method == "tools/call" else None
        arguments = params.get("arguments") or {}
        if tool is None or not isinstance(arguments, Mapping):
            return await call_next(ctx)
        problems = [*_unknown(tool, arguments), *_invalid(tool, arguments)]
        if not problems:
            return await call_next(ctx)
        return CallToolResult(is_error=True, content=[TextContent(text="\n".join(problems))])


def _unknown(tool: Tool, arguments: Mapping[str, Any]) -> Iterable[str]:
    known = list(tool.parameters["properties"])
    for name in arguments:
        if name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"did you mean `{nearest[0]}`?" if nearest else f"it takes {_listed(known)}"
            yield f"`{tool.name}` has no argument `{name}`\nhint: {hint}"


def _invalid(tool: Tool, arguments: Mapping[str, Any]) -> Iterable[str]:
    try:
        tool.fn_metadata.validate_arguments(dict(arguments))
    except ValidationError as error:
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"])
            yield f"argument `{name}` of `{tool.name}`: {problem['msg']}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
