"""`lmstrix history`."""

import click

from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option
from lmstrix.cli.output import emit_json, note
from lmstrix.cli.session import Session
from lmstrix.cli.views import show_probes


@click.command("history", cls=TextCommand)
@click.argument("model", default="")
@json_option
@click.pass_obj
def command(session: Session, /, *, model: str) -> None:
    """Show every probe recorded, oldest first.

    MODEL is any unique part of a model's key; without it, the probes of all models are shown.

    Example: lmstrix history gemma
    """
    recorded = session.strix.history(model)
    if session.as_json:
        emit_json(recorded)
    elif recorded.probes:
        show_probes(recorded.probes)
    else:
        note("no probe is recorded")
