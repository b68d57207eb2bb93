"""The command line's arguments, taken apart as it would, without running anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse(arguments: Sequence[str]) -> str:
    """Return the command's name, ``topics create``; raises click's usage error where it would be refused."""
    from fewnerd_stream.cli import cli

    command: click.Command = cli
    context = click.Context(command, info_name="fewnerd-stream")
    rest = list(arguments)
    names: list[str] = []
    while isinstance(command, click.Group):
        with command.make_context(context.info_name, rest, parent=context.parent) as context:
            name, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        names.append(found.name or str(name))
        command = found
        context = click.Context(command, info_name=name, parent=context)
    command.make_context(names[-1], rest, parent=context.parent)
    return " ".join(names)
