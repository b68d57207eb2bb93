"""Settings: fields, what they must satisfy together, and how they are shown."""

from __future__ import annotations

from fewnerd_stream.settings.fields import MIB
from fewnerd_stream.settings.loading import SettingRow, Settings, load_settings, settings_table
from fewnerd_stream.settings.secrets import MASK

__all__ = ["MASK", "MIB", "SettingRow", "Settings", "load_settings", "settings_table"]
