"""The server, put together; which transport carries it is decided elsewhere."""

from typing import Any, Final

from mcp.server.mcpserver import MCPServer

from lmstrix import __version__
from lmstrix.app import LMStrix
from lmstrix.server.arguments import ArgumentCheck
from lmstrix.server.jobs import Jobs
from lmstrix.server.resources import add_resources
from lmstrix.server.tools import Tools

INSTRUCTIONS: Final = (
    "LMStrix runs local language models inside the context they were measured to hold. "
    "Start with `list_models`: `usable` is the context, in tokens, that really works here, while "
    "`declared` is only what the model file claims. "
    "`infer` runs a model and chooses a context that works; `test_context` measures a model that "
    "has no `usable` yet, `test_all` all of them, which takes minutes to hours and most of the "
    "machine's memory: `dry_run` tells beforehand. "
    "They answer with a job when they take longer than `wait_s`: call `job` to follow or stop it. "
    "One job runs at a time; a test that was stopped is resumed by the same call."
)


def build_server(strix: LMStrix, jobs: Jobs | None = None) -> MCPServer[Any]:
    """Return a server that offers `strix`.

    Args:
        strix: What the tools call. Whoever opened it closes it.
        jobs: Where slow tools run; give one to be able to close it.
    """
    tools = Tools(strix, jobs or Jobs()).all()
    server = MCPServer[Any](
        "lmstrix",
        title="LMStrix",
        instructions=INSTRUCTIONS,
        version=__version__,
        tools=list(tools),
        middleware=[ArgumentCheck(tools)],
    )
    add_resources(server, strix)
    return server
