"""The resources: what a host can show its user."""

from anyio import to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError

from lmstrix.app import LMStrix
from lmstrix.server.errors import explained


def add_resources(server: MCPServer, strix: LMStrix) -> None:
    """Offer what `strix` knows as resources of `server`."""

    @server.resource(
        "lmstrix://models",
        name="models",
        title="Local models",
        description="Every known model with its measured limits: `list_models` in full.",
        mime_type="application/json",
    )
    async def models() -> str:
        with explained(ResourceError):
            page = await to_thread.run_sync(strix.list_models, abandon_on_cancel=True)
        return page.model_dump_json(indent=2)
