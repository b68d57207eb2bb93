"""Options made of settings: each with its meaning and default, so that no two places tell them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from fewnerd_stream.cli._group import Session, pass_session
from fewnerd_stream.settings import Settings, settings_table

if TYPE_CHECKING:
    from collections.abc import Callable

_Function = TypeVar("_Function", bound="Callable[..., Any]")

_PREFIX: Final = "setting_"
SECRET: Final = frozenset(name for name in Settings.model_fields if name.endswith("password"))
"""Settings that are no options: a command line can be read by everybody on the machine."""

CONNECTION: Final = ("bootstrap_servers",)
GROUP: Final = (*CONNECTION, "input_topics", "group")


def settings_options(*names: str) -> Callable[[_Function], _Function]:
    """Give a command an option for each of these settings, and the settings in their place.

    The command is called with ``settings``, read with what the options say on top. Values are checked by the
    settings themselves, all at once.
    """
    rows = {row.name: row for row in settings_table()}

    def decorate(function: _Function) -> _Function:
        @pass_session
        @functools.wraps(function)
        def read(session: Session, /, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the command's own
            overrides = {name: kwargs.pop(_PREFIX + name) for name in names}
            return function(*args, settings=session.settings(**overrides), **kwargs)

        command: Any = read
        for name in reversed(names):
            row, field = rows[name], Settings.model_fields[name]
            option = "--" + name.replace("_", "-")
            help_text = f"{row.meaning[0].upper()}{row.meaning[1:]}. [{row.env}; {row.default or 'unset'}]"
            if field.annotation is bool:
                decorator = click.option(
                    f"{option}/--no-{option[2:]}", _PREFIX + name, default=None, help=help_text
                )
            else:
                decorator = click.option(option, _PREFIX + name, metavar=_metavar(name), help=help_text)
            command = decorator(command)
        result: _Function = command
        return result

    return decorate


def _metavar(name: str) -> str:
    """Say what kind of value an option takes."""
    annotation = str(Settings.model_fields[name].annotation)
    for part, shown in (("Literal", "CHOICE"), ("Path", "FILE"), ("tuple", "LIST")):
        if part in annotation:
            return shown
    return "NUMBER" if annotation in {"<class 'int'>", "<class 'float'>", "int | None"} else "TEXT"


def json_option(function: _Function) -> _Function:
    """Give a command ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")(function)
