"""Settings read from arguments, environment and file, and checked together."""

from __future__ import annotations

import os
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pydantic import ValidationError, model_validator
from pydantic_settings import InitSettingsSource

from fewnerd_stream.errors import SettingsError
from fewnerd_stream.settings.checks import problems
from fewnerd_stream.settings.fields import Fields, shown
from fewnerd_stream.settings.parsing import PREFIX
from fewnerd_stream.settings.report import CONFIG, explained, summary, unknown

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_file: ContextVar[Path | None] = ContextVar("_file", default=None)


class Settings(Fields):
    """Everything that a worker can be told, read from where it is told, and fitting together."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        """Check what no field can know alone, and say all that is wrong at once."""
        found = problems(self)
        if found:
            raise ValueError("\n".join(found))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class names it
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let arguments win over the environment, and the environment over the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _read_file(_file_in_use()))


class SettingRow(NamedTuple):
    """A setting as the documentation shows it."""

    name: str
    env: str
    default: str
    meaning: str


def settings_table() -> list[SettingRow]:
    """List every setting, in the order in which they are best explained."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = "<temporary folder>/fewnerd-stream-<uid>/<group>.json"
        if name != "health_file":
            default = shown(field.default)
        rows.append(SettingRow(name, PREFIX + name.upper(), default, field.description or ""))
    return rows


def load_settings(*, config: str | Path | None = None, **overrides: Any) -> Settings:  # noqa: ANN401 - as many types as fields
    """Read the settings: the overrides win over the environment, and that over the file.

    Args:
        config: the TOML file to read in place of the one that ``FEWNERD_CONFIG`` names.
        overrides: values by setting name; None counts as not given.

    Raises:
        SettingsError: with one message that names every variable that is wrong.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    token = _file.set(Path(config) if config is not None else None)
    try:
        path = _file_in_use()
        in_file = _read_file(path)
        wrong = list(unknown(Settings.model_fields, given, in_file, path))
        settings = None
        try:
            settings = Settings(**given)
        except ValidationError as error:
            wrong += explained(error, given, in_file, path)
        if settings is None or wrong:
            raise SettingsError(summary(wrong))
        return settings
    finally:
        _file.reset(token)


def _file_in_use() -> Path | None:
    path = _file.get()
    if path is None and os.environ.get(CONFIG):
        path = Path(os.environ[CONFIG])
    return path


def _read_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the settings' file {path} ({CONFIG}) cannot be used: {reason}"
        raise SettingsError(message) from error
