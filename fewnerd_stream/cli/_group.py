"""What all commands share: lazy loading, errors as one line and an exit code, and the session."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.errors import BrokerError, BundleRefused, FewnerdError, SettingsError, TopicsError
from fewnerd_stream.exits import MEANING, Exit

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from pathlib import Path

    from fewnerd_stream.settings import Settings

_Result = TypeVar("_Result")

DEBUG: Final = "FEWNERD_DEBUG"
_LEFT: Final = 6


@dataclass(frozen=True, slots=True)
class Session:
    """What the global options said."""

    config: Path | None = None
    debug: bool = False

    def settings(self, **overrides: object) -> Settings:
        """Read the settings; what is not None wins over the environment and the file.

        Raises:
            SettingsError: some are wrong.
        """
        from fewnerd_stream.settings import load_settings

        return load_settings(config=self.config, **overrides)


pass_session = click.make_pass_decorator(Session)


class LazyGroup(click.Group):
    """A group that knows its commands by name and one line, and imports one when it is asked for.

    Errors that this package raises on purpose end in one line on standard error and an exit code of their
    own; any other is called what it is, a fault of the program. With ``FEWNERD_DEBUG=1`` both come with a
    traceback.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - click's
        lazy: Mapping[str, tuple[str, str]] | None = None,
        **kwargs: Any,  # noqa: ANN401 - click's
    ) -> None:
        """Take click's arguments, and each lazy command's module and short help."""
        super().__init__(*args, **kwargs)
        self._lazy = dict(lazy or {})

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Give the commands in the order in which they were written down."""
        return [*self._lazy, *(name for name in self.commands if name not in self._lazy)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"fewnerd_stream.cli.{self._lazy[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        rows = []
        for name in self.list_commands(ctx):
            if name in self._lazy:
                rows.append((name, self._lazy[name][1]))
            elif (command := super().get_command(ctx, name)) is not None and not command.hidden:
                rows.append((name, command.get_short_help_str(formatter.width - _LEFT)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's
        """Run the command that was asked for, and turn errors into exit codes."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except BrokenPipeError:
            raise  # click knows: whoever read our output has seen enough
        except Exception as error:
            if ctx.parent is not None:
                raise  # the outermost group tells
            session = ctx.find_object(Session)
            if session is not None and session.debug:
                raise
            ctx.exit(_tell(error))


def _tell(error: Exception) -> int:
    """Say on standard error what went wrong; returns the exit code."""
    if isinstance(error, FewnerdError):
        complain(str(error))
        return exit_code(error)
    complain(f"a fault of this program: {type(error).__name__}: {error}", f"{DEBUG}=1 shows where")
    return Exit.FAILURE


def exit_code(error: FewnerdError) -> Exit:
    """Give the exit code of an error of this package."""
    for kind, code in (
        (SettingsError, Exit.USAGE),
        (BrokerError, Exit.BROKER),
        (TopicsError, Exit.TOPICS),
        (BundleRefused, Exit.MODEL),
    ):
        if isinstance(error, kind):
            return code
    return Exit.FAILURE


def complain(message: str, *more: str) -> None:
    """Write a message to standard error, after ``Error:`` in red where there are colours.

    It may repeat what others wrote: no line of it but the first begins where ours do, and none steers. What
    more there is to say is ours, a line each.
    """
    first, *rest = harmless(message, lines=True).split("\n")
    message = "\n".join([first, *(line if line.startswith(" ") else f"  {line}" for line in rest), *more])
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    click.echo(f"{click.style('Error:', fg='red', bold=True) if coloured else 'Error:'} {message}", err=True)


def examples(*lines: str) -> str:
    """Lay out a command's examples for the end of its help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def exit_table() -> str:
    """Lay out the exit codes for the end of the help."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code.value}  {MEANING[code]}" for code in Exit)


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a coroutine to its end. SIGINT and SIGTERM cancel it, so that it can put things in order.

    Raises:
        KeyboardInterrupt: it was cancelled.
    """
    import asyncio

    async def guarded() -> _Result:
        task = asyncio.current_task()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # no signals here
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel if task else int)
        return await work

    quiet_libraries()
    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def quiet_libraries() -> None:
    """Keep the Kafka client's log lines off the screen: what matters of them comes as an error."""
    context = click.get_current_context(silent=True)
    session = context and context.find_object(Session)
    level = logging.WARNING if session and session.debug else logging.CRITICAL + 1
    logging.getLogger("aiokafka").setLevel(level)
    logging.getLogger("asyncio").setLevel(level)
