"""`lmstrix infer`."""

import re
import sys
from typing import Any, Final

import click

from lmstrix.cli.command import TextCommand
from lmstrix.cli.options import json_option, memory_option, reading, timeout_option
from lmstrix.cli.output import emit_json, note
from lmstrix.cli.session import Session
from lmstrix.errors import RequestError
from lmstrix.sizes import parse_tokens
from lmstrix.values import Completion, Event


def input_context(text: str) -> int | None:
    """Return the context to load: None for `auto`, 0 where the runtime is to choose."""
    return None if text == "auto" else parse_tokens(text)


def output_context(text: str) -> int | str:
    """Return the most tokens to generate, or a share of the effective context such as `25%`."""
    return text if re.fullmatch(r"\d+(\.\d+)?%", text) else parse_tokens(text)


_SHARE: Final = click.FloatRange(0, 1)
_CUTS: Final = {
    "length": "it was as long as `--out_ctx` allows",
    "context": "the window was full",
}


@click.command("infer", cls=TextCommand)
@click.argument("prompt", required=False)
@click.argument("model", default="")
@click.option(
    "--in_ctx",
    metavar="N|0|auto",
    default="auto",
    show_default=True,
    callback=reading(input_context),
    help="Context to load, e.g. `8k`; 0 leaves it to the runtime.",
)
@click.option(
    "--out_ctx",
    metavar="N|P%",
    callback=reading(output_context),
    help="Most tokens to generate: a number, or a share of the context, e.g. `25%`.",
)
@click.option("--system", default="", metavar="TEXT", help="System prompt.")
@click.option(
    "--temperature", metavar="X", type=click.FloatRange(min=0), help="0 is the most likely answer."
)
@click.option(
    "--top_p", metavar="X", type=_SHARE, help="Choose among tokens of this summed probability."
)
@click.option(
    "--top_k", metavar="N", type=click.IntRange(min=0), help="Choose among this many tokens."
)
@click.option(
    "--min_p",
    metavar="X",
    type=_SHARE,
    help="Pass over tokens this much less likely than the best.",
)
@click.option(
    "--repeat_penalty", metavar="X", type=click.FloatRange(min=0), help="1 penalizes nothing."
)
@click.option("--seed", metavar="N", type=int, help="The same seed gives the same answer.")
@click.option("--stop", multiple=True, metavar="TEXT", help="Stop before this; may be repeated.")
@click.option("--force-reload", is_flag=True, help="Load anew, even if a loaded copy would do.")
@click.option("--no-stream", is_flag=True, help="Print the answer when it is complete.")
@click.option("--raw", is_flag=True, help="Continue PROMPT, without the model's chat template.")
@memory_option
@timeout_option
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - what is not the engine's is named here
    session: Session,
    /,
    *,
    prompt: str | None,
    model: str,
    memory_budget: int | None,
    no_stream: bool,
    raw: bool,
    **how: Any,
) -> None:
    """Answer PROMPT with MODEL.

    PROMPT is text, whatever it looks like; `-`, or no PROMPT while stdin is a pipe, reads it from
    stdin, less one line break at its end. MODEL is any unique part of a model's key; without it,
    the one used last answers. The answer alone goes to stdout.

    Example: lmstrix infer "Why is the sky blue?" gemma --out_ctx 200
    """
    text = read_prompt(prompt)
    stream = sys.stdout.isatty() and not no_stream and not session.as_json
    speaker = Speaker(stream=stream)
    try:
        completion = session.strix.infer(
            model, text, budget_bytes=memory_budget, raw=raw or None, on_event=speaker, **how
        )
    finally:
        speaker.end_line()
    show_answer(completion, streamed=stream, as_json=session.as_json)


def read_prompt(prompt: str | None) -> str:
    """Return the prompt: as given, or from stdin.

    Raises:
        click.UsageError: None was given, and nothing is piped in.
        RequestError: What is piped in is not text.
    """
    if prompt is not None and prompt != "-":
        return prompt
    if prompt is None and sys.stdin.isatty():
        raise click.UsageError("missing argument `PROMPT`", click.get_current_context())
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the prompt on stdin is not UTF-8: {error.reason} at byte {error.start}",
            hint="convert it, e.g. with `iconv -t utf-8`",
        ) from error
    return text.removesuffix("\n").removesuffix("\r")


class Speaker:
    """Writes status lines to stderr and, where it streams, the answer to stdout as it comes."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream
        self._in_line = False

    def __call__(self, event: Event) -> None:
        """Show what matters of `event`."""
        if event.text and self._stream:
            click.echo(event.text, nl=False)
            self._in_line = not event.text.endswith("\n")
        elif event.message:
            self.end_line()
            note(event.message)

    def end_line(self) -> None:
        """End the line that streaming may have left open."""
        if self._in_line:
            click.echo()
            self._in_line = False


def show_answer(completion: Completion, *, streamed: bool, as_json: bool) -> None:
    """Print what streaming has not printed, and say on stderr what the user should know."""
    if as_json:
        emit_json(completion)
    elif not streamed:
        click.echo(completion.text, nl=not completion.text.endswith("\n"))
    for warning in completion.warnings:
        note(f"warning: {warning}")
    if completion.truncated:
        note(f"warning: the answer was cut, {_CUTS.get(completion.stop_reason, 'it was stopped')}")
