"""The command line: parse, call LMStrix, render.

Importing this package, and `lmstrix --help`, load click and nothing heavier: each command's module
is imported when that command runs. Data goes to stdout, everything else to stderr.
"""

import io
import signal
import sys
from types import FrameType
from typing import Final, NoReturn

import click

from lmstrix import __version__
from lmstrix.cli.failure import Terminated
from lmstrix.cli.group import CommandGroup

COMMANDS: Final = {
    "scan": ("lmstrix.cli.scan", "Look for models and remember them."),
    "list": ("lmstrix.cli.listing", "Show the models that are known, and what they hold."),
    "test": ("lmstrix.cli.test", "Find the largest context that MODEL really holds."),
    "infer": ("lmstrix.cli.infer", "Answer PROMPT with MODEL."),
    "history": ("lmstrix.cli.history", "Show every probe recorded, oldest first."),
    "demo": ("lmstrix.cli.demo", "Find the true limit of a small real model, then ask it."),
    "doctor": ("lmstrix.cli.doctor", "Say what LMStrix finds on this machine."),
    "mcp": ("lmstrix.cli.serve", "Serve LMStrix to an AI agent, over MCP on stdio."),
}
"""The module of each command, and the first line of its help."""


@click.group(
    "lmstrix",
    cls=CommandGroup,
    table=COMMANDS,
    epilog="`lmstrix COMMAND --help` has an example of each.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Find the context length your local models can really hold, and run them inside it."""


def main() -> NoReturn:
    """Run the `lmstrix` command."""
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A model may write what the terminal's encoding lacks: show its code, do not crash.
            stream.reconfigure(errors="backslashreplace")
    cli.main()


def _terminate(number: int, _: FrameType | None) -> NoReturn:
    # Whoever asks twice must not cut short the unwinding that the first time began.
    signal.signal(number, signal.SIG_IGN)
    raise Terminated
