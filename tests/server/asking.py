"""What came of calling a tool."""

from typing import Any

from mcp.types import CallToolResult, TextContent


def text_of(result: CallToolResult) -> str:
    """Return the text that the calling model reads."""
    [block] = result.content
    assert isinstance(block, TextContent)
    return block.text


def content_of(result: CallToolResult) -> dict[str, Any]:
    """Return the structured content of a call that went well."""
    assert not result.is_error, text_of(result)
    assert isinstance(result.structured_content, dict)
    return result.structured_content
