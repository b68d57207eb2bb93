"""`config`: every setting with its variable, default, value, where the value is from, and what it means."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic_core import PydanticUndefined

from fewnerd_stream.cli._group import Session, examples, pass_session
from fewnerd_stream.cli._options import json_option
from fewnerd_stream.settings import Settings, settings_table
from fewnerd_stream.settings.report import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command(
    "config",
    epilog=examples(
        "fewnerd-stream config",
        "fewnerd-stream config --defaults > fewnerd.toml",
        "fewnerd-stream --config fewnerd.toml config --json",
    ),
)
@json_option
@click.option("--defaults", is_flag=True, help="Print a settings file in TOML, all defaults, to start from.")
@pass_session
def command(session: Session, *, as_json: bool, defaults: bool) -> None:
    """Show every setting: its variable, default, value, where that is from, and what it means.

    An option of a command wins over the environment, that over the file (--config or FEWNERD_CONFIG), and
    that over the default. An empty variable counts as not set. Passwords are never shown.
    """
    if defaults:
        click.echo("".join(defaults_as_toml()), nl=False)
        return
    rows = table_rows(session)
    if as_json:
        from fewnerd_stream.terminal import print_json

        print_json({"settings": rows})
        return
    from fewnerd_stream.terminal import console, table

    shown = table("SETTING", "VALUE", "FROM", "DEFAULT", "MEANING")
    for row in rows:
        style = None if row["source"] == "default" else "bold"
        cells = (row["env"], row["value"], row["source"], row["default"], row["meaning"])
        shown.add_row(*cells, style=style)
    console().print(shown)


def table_rows(session: Session) -> list[dict[str, str]]:
    """List the settings as they are now, each as one flat object.

    Raises:
        SettingsError: some are wrong.
    """
    values = session.settings().describe()
    in_file = _names_in(session.config or os.environ.get(CONFIG))
    rows = []
    for row in settings_table():
        source = "file" if row.name in in_file else "default"
        source = "environment" if os.environ.get(row.env) else source
        rows.append(
            {
                "name": row.name,
                "env": row.env,
                "value": values[row.name],
                "source": source,
                "default": row.default,
                "meaning": row.meaning,
            }
        )
    return rows


def _names_in(path: str | Path | None) -> set[str]:
    return set() if not path else set(tomllib.loads(Path(path).read_text("utf-8")))


def defaults_as_toml() -> Iterator[str]:
    """Write a settings file that says what the defaults say; what has none, or depends, is commented out."""
    yield "# Settings of fewnerd-stream, for --config FILE or FEWNERD_CONFIG. The environment wins.\n"
    for row in settings_table():
        default = Settings.model_fields[row.name].default
        yield f"\n# {row.meaning}\n"
        if default is None or default is PydanticUndefined:
            yield f"# {row.name} =\n"
        else:
            yield f"{row.name} = {_toml(default)}\n"


def _toml(value: Any) -> str:  # noqa: ANN401 - as many types as settings
    """Write a default in TOML; of its types only tuples differ from JSON."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
