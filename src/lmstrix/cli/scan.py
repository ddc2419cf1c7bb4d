"""`lmstrix scan`."""

import click

from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option
from lmstrix.cli.output import emit_json, note, show_problems
from lmstrix.cli.session import Session
from lmstrix.cli.views import show_models


@click.command("scan", cls=TextCommand)
@json_option
@click.pass_obj
def command(session: Session, /) -> None:
    """Look for models and remember them.

    What was passed over, and why, is said on stderr.

    Example: lmstrix scan
    """
    found = session.strix.scan()
    show_problems(session.strix.problems())
    if session.as_json:
        emit_json(found)
    else:
        show_models(found.models)
        note(f"known models: {found.total}")
        if not found.total:
            note("`lmstrix doctor` shows where models are looked for")
