"""Say what is wrong with settings: which variable, where it was set, and what was perhaps meant."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from fewnerd_stream.settings.parsing import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic import ValidationError

CONFIG: Final = "FEWNERD_CONFIG"

_SERVICE_LINK: Final = re.compile(
    r"_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)$"
)
"""What Kubernetes gives every container for a service named fewnerd-something: no setting and no typo."""


def summary(wrong: list[str]) -> str:
    """Head a list of what is wrong with its number."""
    head = "1 setting is wrong" if len(wrong) == 1 else f"{len(wrong)} settings are wrong"
    return "\n  ".join([f"{head}:", *wrong])


def unknown(
    known: Iterable[str], given: Mapping[str, object], in_file: Mapping[str, object], path: Path | None
) -> Iterator[str]:
    """Name what looks like a setting and is none, with the nearest that there is."""
    known = list(known)
    for variable in sorted(os.environ):
        name = variable.upper().removeprefix(PREFIX).lower()
        ours = variable.upper().startswith(PREFIX) and variable.upper() != CONFIG
        if ours and name not in known and not _SERVICE_LINK.search(variable):
            yield f"{variable}: there is no such setting{_nearest(name, known, PREFIX)}"
    for name in in_file:
        if name not in known:
            yield f"{name} in {path}: there is no such setting{_nearest(name, known)}"
    for name in given:
        if name not in known:
            yield f"{name}: there is no such setting{_nearest(name, known)}"


def _nearest(name: str, known: list[str], prefix: str = "") -> str:
    plain = name.upper().removeprefix(PREFIX).lower().replace("-", "_")
    close = get_close_matches(plain, known, n=1)
    return f"; did you mean {prefix}{close[0].upper() if prefix else close[0]}?" if close else ""


def explained(
    error: ValidationError, given: Mapping[str, object], in_file: Mapping[str, object], path: Path | None
) -> Iterator[str]:
    """Say what is wrong with each value and where it came from; a secret's value is never repeated."""
    named = set()
    for detail in error.errors(include_url=False, include_context=False):
        if not detail["loc"]:  # our own checks of what must fit together name the variables themselves
            yield from dict.fromkeys(detail["msg"].removeprefix("Value error, ").split("\n"))
            continue
        name = str(detail["loc"][0])
        if name in named or detail["type"] in {"extra_forbidden", "default_factory_not_called"}:
            continue  # named already, here or with the nearest; or the consequence of another
        named.add(name)
        variable = PREFIX + name.upper()
        if name not in given and not os.environ.get(variable) and name in in_file:
            variable = f"{name} in {path}"
        problem = detail["msg"].removeprefix("Value error, ")
        yield f"{variable}: {problem[0].lower()}{problem[1:]}{_but(name, detail['input'])}"


def _but(name: str, value: object) -> str:
    """Quote a value that was refused, unless it may be a secret or is not what was written."""
    if "password" in name or not isinstance(value, str | int | float):
        return ""
    return f", not {str(value)[:80]!r}" if isinstance(value, str) else f", not {value}"
