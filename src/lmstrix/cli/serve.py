"""`lmstrix mcp`."""

import click

from lmstrix.cli.command import TextCommand


@click.command("mcp", cls=TextCommand)
def command() -> None:
    """Serve LMStrix to an AI agent, over MCP on stdio.

    An MCP host starts this; it ends when the host closes its input. `lmstrix-mcp` is the same.

    Example: lmstrix mcp
    """
    from lmstrix.server.process import serve  # noqa: PLC0415 - `--help` must not load `mcp`

    serve()
