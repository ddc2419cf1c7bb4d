"""The outermost frame: commands found in a table, errors caught in one place."""

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import Any, NoReturn

import click

from lmstrix.cli.failure import Failure, UnknownCommandError
from lmstrix.cli.session import Session
from lmstrix.errors import LMStrixError

_BROKEN_PIPE = 141
"""128 + SIGPIPE, as a shell reports it for any program whose reader has gone."""

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}
"""What writing to a file can fail with, stdout being one. Adapters translate their own."""


class CommandGroup(click.Group):
    """Commands that are imported when they run. What they raise is caught here and nowhere else.

    Args:
        table: The module of each command, which has it as `command`, and its help in one line.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of the table."""
        return list(self._table)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a command, or None."""
        if cmd_name not in self._table:
            return None
        command: click.Command = import_module(self._table[cmd_name][0]).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` begin with; if there is none, say which come near."""
        if args[0] not in self._table and not ctx.resilient_parsing:
            raise UnknownCommandError(args[0], self._table, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the table, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._table.items()])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        *_: Any,
        **extra: Any,
    ) -> NoReturn:
        """Run the command line `args`, and leave with the exit code of the contract.

        click's own `main` is not called: when the reader of stdout has gone it would leave with 1,
        which here means that no context works; on Windows it would expand a `*` in a prompt.
        """
        program = prog_name or "lmstrix"
        self._main_shell_completion(extra, program, complete_var)
        words = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(program, words, extra.pop("obj", None), extra))

    def _run(self, program: str, words: list[str], strix: Any, extra: dict[str, Any]) -> int:
        """Run, tell what went wrong if anything did, and return the exit code."""
        session = Session(strix, as_json=_asks_for_json(words))
        try:
            end = self._end(program, words, session, extra)
            if isinstance(end, Failure):
                end.show(as_json=session.as_json)
            sys.stdout.flush()
        except BrokenPipeError:
            _drop_stdout()
            return _BROKEN_PIPE
        except OSError as error:
            if error.errno not in _CANNOT_WRITE:
                raise
            _drop_stdout()
            end = Failure.of_output(error)
            end.show(as_json=False)
        return end.exit_code if isinstance(end, Failure) else end

    def _end(
        self, program: str, words: list[str], session: Session, extra: dict[str, Any]
    ) -> int | Failure:
        """Run to the end; return the exit code, or why it failed."""
        try:
            with closing(session), self.make_context(program, words, obj=session, **extra) as ctx:
                self.invoke(ctx)
        except click.exceptions.Exit as done:
            return done.exit_code
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            return error.exit_code
        except click.UsageError as error:
            return Failure.of_usage(error)
        except LMStrixError as error:
            return Failure.of(error)
        except KeyboardInterrupt as stop:
            return Failure.of_interrupt(stop, session.kept)
        return 0


def _asks_for_json(words: Sequence[str]) -> bool:
    """Whether `--json` stands among the options: the answer where they cannot be parsed."""
    return "--json" in words[: words.index("--") if "--" in words else None]


def _drop_stdout() -> None:
    # What is still buffered would raise once more when Python closes stdout at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
