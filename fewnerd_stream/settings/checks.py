"""What settings must satisfy together: each check gives readable problems that name the variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fewnerd_stream.contract.topology import ROOM, Role
from fewnerd_stream.settings.parsing import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fewnerd_stream.settings.fields import Fields

# Seconds after the drain that the last commit may take.
FAREWELL: Final = 5.0

_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")

_PARTS: Final[dict[Role, str]] = {
    "input": "an input topic",
    "retry": "a retry topic of ",
    "dead": "the dead letters of ",
    "marks": "what was replayed of ",
    "output": "an output topic",
}


def problems(settings: Fields) -> list[str]:
    """List all that does not fit together."""
    return [*_times(settings), *_sizes(settings), *_topics(settings), *_security(settings)]


def _below(settings: Fields, low: str, high: str, why: str, factor: float = 1) -> Iterator[str]:
    """Demand that one setting lies below (a part of) another."""
    low_value, high_value = getattr(settings, low), getattr(settings, high)
    if low_value >= high_value * factor:
        part = "half of " if factor != 1 else ""
        yield (
            f"{PREFIX}{low.upper()} ({low_value:g}) must lie below {part}"
            f"{PREFIX}{high.upper()} ({high_value:g}): {why}"
        )


def _times(settings: Fields) -> Iterator[str]:
    yield from _below(
        settings, "heartbeat_interval", "session_timeout", "one lost heartbeat must not end the session", 0.5
    )
    yield from _below(
        settings, "session_timeout", "request_timeout", "a request to join must outlast a session"
    )
    if settings.drain + FAREWELL > settings.rebalance_timeout:
        yield (
            f"{PREFIX}DRAIN ({settings.drain:g}) must lie at least {FAREWELL:g} below {PREFIX}REBALANCE_TIMEOUT "
            f"({settings.rebalance_timeout:g}): a worker that drains, and commits, must not be thrown out of the group"
        )
    yield from _below(
        settings, "window_time", "drain", "a window must be able to fill and finish within the drain"
    )
    for name in ("session_timeout", "request_timeout", "inference_timeout"):
        yield from _below(settings, name, "patience", "a single slow step must not count as no progress")


def _sizes(settings: Fields) -> Iterator[str]:
    if settings.max_text_bytes > settings.max_message_bytes:
        yield (
            f"{PREFIX}MAX_TEXT_BYTES ({settings.max_text_bytes}) is more than {PREFIX}MAX_MESSAGE_BYTES "
            f"({settings.max_message_bytes}): no such text could arrive"
        )
    if settings.max_message_bytes + ROOM > settings.max_result_bytes:
        yield (
            f"{PREFIX}MAX_RESULT_BYTES ({settings.max_result_bytes}) must be at least "
            f"{PREFIX}MAX_MESSAGE_BYTES ({settings.max_message_bytes}) + {ROOM}: "
            "else a record could not be handed on to retry or dead"
        )
    if settings.min_insync_replicas > settings.replication:
        yield (
            f"{PREFIX}MIN_INSYNC_REPLICAS ({settings.min_insync_replicas}) is more than {PREFIX}REPLICATION "
            f"({settings.replication}): nothing could be written"
        )


def _topics(settings: Fields) -> Iterator[str]:
    """Demand names that Kafka takes, and no topic with two parts to play."""
    parts: dict[str, tuple[str, str]] = {}
    for topic in {topic for topic in settings.input_topics if settings.input_topics.count(topic) > 1}:
        yield f"{PREFIX}INPUT_TOPICS: {topic} is named twice"
    if not _TOPIC.fullmatch(settings.group):
        yield (
            f"{PREFIX}GROUP: {settings.group!r} cannot begin a topic's name, as those of the group's retry topics "
            "and dead letters do: letters, digits, '.', '_' and '-' are allowed"
        )
        return
    topology = settings.topology
    for one in topology.inputs:
        names = [
            (name, f"{_PARTS[role]}{'' if role == 'input' else one.input}") for name, role in one.roles()
        ]
        yield from _legal(f"{PREFIX}INPUT_TOPICS", one.input, max((name for name, _ in names), key=len))
        yield from _apart(parts, names, f"{PREFIX}INPUT_TOPICS")
    outputs = list(topology.outputs.values())
    yield from _legal(f"{PREFIX}OUTPUT_PREFIX", settings.output_prefix, max(outputs, key=len))
    yield from _apart(parts, [(name, _PARTS["output"]) for name in outputs], f"{PREFIX}OUTPUT_PREFIX")


def _legal(variable: str, name: str, longest: str) -> Iterator[str]:
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        yield f"{variable}: {name!r} is no Kafka topic's name: letters, digits, '.', '_' and '-' are allowed"
    elif not _TOPIC.fullmatch(longest):
        yield f"{variable}: {name} is too long: {longest} has more than 249 characters"


def _apart(
    parts: dict[str, tuple[str, str]], names: Iterable[tuple[str, str]], variable: str
) -> Iterator[str]:
    for name, part in names:
        # Kafka refuses two topics whose names differ in '.' and '_' only: its metrics cannot tell them apart.
        other, its_part = parts.setdefault(name.replace(".", "_"), (name, part))
        if (other, its_part) != (name, part):
            same = "that is" if other == name else f"Kafka cannot tell it from {other},"
            yield f"{variable}: {name} would be {part}, and {same} {its_part}"


def _security(settings: Fields) -> Iterator[str]:
    protocol = settings.security_protocol
    ssl_names = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password")
    sasl_names = ("sasl_mechanism", "sasl_username", "sasl_password")
    for names, wanted in ((ssl_names, protocol.endswith("SSL")), (sasl_names, protocol.startswith("SASL"))):
        given = [name for name in names if getattr(settings, name) is not None]
        for name in given if not wanted else ():
            yield f"{PREFIX}{name.upper()} is of no use with {PREFIX}SECURITY_PROTOCOL={protocol}"
        if wanted and names is sasl_names:
            for name in sorted(set(names) - set(given)):
                yield f"{PREFIX}{name.upper()} is needed with {PREFIX}SECURITY_PROTOCOL={protocol}"
    if settings.ssl_certfile is None:
        for name in ("ssl_keyfile", "ssl_password"):
            if getattr(settings, name) is not None and protocol.endswith("SSL"):
                yield f"{PREFIX}{name.upper()} is of no use without {PREFIX}SSL_CERTFILE"
