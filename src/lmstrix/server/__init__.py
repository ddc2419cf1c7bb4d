"""The MCP server, `lmstrix-mcp`: LMStrix for AI agents, over standard input and output.

This module stays light, since importing `mcp` takes a second: `--help` does not pay for it.
"""

import click

from lmstrix import __version__
from lmstrix.errors import LMStrixError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lmstrix-mcp", message="%(prog)s %(version)s")
def main() -> None:
    """Serve LMStrix to an AI agent, by the Model Context Protocol over stdin and stdout.

    An MCP host starts this program; it ends when the host closes its input. Settings come from
    the environment, e.g. LMSTRIX_HOME, LMSTRIX_BACKEND, LMSTRIX_MODELS_DIR, LMSTRIX_LOG.
    """
    from lmstrix.server.process import serve  # noqa: PLC0415 - `mcp` takes a second to import

    try:
        serve()
    except LMStrixError as error:
        click.echo(f"error: {error}", err=True)
        if error.hint:
            click.echo(f"\nhint: {error.hint}", err=True)
        raise SystemExit(error.exit_code) from error
