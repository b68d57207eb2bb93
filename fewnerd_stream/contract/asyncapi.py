"""The contract as documents that machines read: AsyncAPI 3 with Kafka bindings, and JSON Schemas. Pure.

Header values are bytes on the wire, and UTF-8 text here. Headers that came with the input come along in each
message; only ours are described.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from fewnerd_stream.contract import envelope
from fewnerd_stream.contract.documents import EVENT_TYPE, STRUCTURED
from fewnerd_stream.contract.options import DocumentOptions
from fewnerd_stream.contract.schema import published
from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE
from fewnerd_stream.contract.topology import TopicOptions, all_topics
from fewnerd_stream.errors import Reason

if TYPE_CHECKING:
    from fewnerd_stream.contract.topology import Role, TopicSpec

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BINDING: Final = {"bindingVersion": "0.5.0"}
_NUMBER: Final[dict[str, Any]] = {"type": "string", "pattern": "^[0-9]{1,19}$"}
_TEXT: Final[dict[str, Any]] = {"type": "string"}
_KEY: Final = {"kafka": {"key": {"type": "string", "description": "the input's, or null"}, **_BINDING}}

_MESSAGES: Final[dict[Role, str]] = {
    "input": "rawDocument",
    "retry": "waitingDocument",
    "dead": "deadLetter",
    "marks": "replayedOffsets",
    "output": "enrichedDocument",
}
_MEANING: Final[dict[Role, str]] = {
    "input": "Raw documents.",
    "retry": "Documents that wait for their next attempt; the group's own.",
    "dead": "Documents that could not be enriched, with the reason.",
    "marks": "Which dead letters were replayed; the group's own.",
    "output": "Documents with their entities of one category, or in which none was found.",
}
_LISTS: Final = {"cleanup.policy"}


class ContractOptions(DocumentOptions, TopicOptions, Protocol):
    """What the documents depend on."""

    @property
    def bootstrap_servers(self) -> str:
        """Kafka brokers: ``host:port``, commas between."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Labels and categories that a worker is restricted to."""


def asyncapi(settings: ContractOptions, version: str) -> dict[str, Any]:
    """Describe every topic, its configuration and its messages in AsyncAPI 3.

    Args:
        settings: the names of topics, and what is in a message.
        version: of the package.
    """
    specs = all_topics(settings)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "fewnerd-stream",
            "version": version,
            "description": "Raw documents in, documents with Few-NERD entities out. A result may come twice, with the "
            "same ce_id. Within a schema's version members are added, never taken away: pass over "
            "what you do not know.",
        },
        "defaultContentType": "application/json",
        "servers": {
            f"kafka{number}": {"host": host, "protocol": "kafka"}
            for number, host in enumerate(settings.bootstrap_servers.split(","), 1)
        },
        "channels": {spec.name: _channel(spec) for spec in specs},
        "operations": {
            f"{'receive' if spec.role == 'input' else 'send'}.{spec.name}": {
                "action": "receive" if spec.role == "input" else "send",
                "channel": {"$ref": f"#/channels/{spec.name}"},
            }
            for spec in specs
        },
        "components": {"messages": _messages(settings), "schemas": _schemas(settings)},
    }


def _channel(spec: TopicSpec) -> dict[str, Any]:
    config: dict[str, Any] = {
        name: [value] if name in _LISTS else int(value) for name, value in sorted(spec.config.items())
    }
    name = _MESSAGES[spec.role]
    return {
        "address": spec.name,
        "description": _MEANING[spec.role],
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {
            "kafka": {
                "topic": spec.name,
                "partitions": spec.partitions,
                "replicas": spec.replication,
                "topicConfiguration": config,
                **_BINDING,
            }
        },
    }


def _messages(settings: ContractOptions) -> dict[str, Any]:
    structured = settings.cloudevents == "structured"
    return {
        "rawDocument": {"title": "A raw document", "payload": raw(settings), "bindings": _KEY},
        "enrichedDocument": {
            "title": "A document with its entities",
            "contentType": STRUCTURED.decode() if structured else "application/json",
            "headers": enriched_headers(settings),
            "payload": _event() if structured else {"$ref": "#/components/schemas/enriched"},
            "bindings": _KEY,
        },
        "waitingDocument": {
            "title": "A document that waits for its next attempt",
            "headers": retry_headers(),
            "payload": {"description": "the input's value, byte for byte"},
            "bindings": _KEY,
        },
        "deadLetter": {
            "title": "A document that could not be enriched",
            "headers": dead_letter_headers(),
            "payload": {"description": "the input's value, byte for byte, or null"},
            "bindings": _KEY,
        },
        "replayedOffsets": {
            "title": "What was replayed",
            "payload": {"description": "of the command line's own; subject to change"},
        },
    }


def raw(settings: ContractOptions) -> dict[str, Any]:
    """Give the JSON Schema of a raw document."""
    text = {"type": "string", "pattern": r"\S"}
    return {
        "type": "object",
        "required": [settings.id_field, settings.text_field],
        "properties": {settings.id_field: text, settings.text_field: text},
    }


def enriched(settings: ContractOptions) -> dict[str, Any]:
    """Give the JSON Schema of an enriched document."""
    return published(settings.labels or ())


def _schemas(settings: ContractOptions) -> dict[str, Any]:
    """Give the enriched document's schema with its parts beside it: a reference starts at the document's root."""
    whole = enriched(settings)
    parts = whole.pop("$defs")
    whole["properties"]["entities"]["items"] = {"$ref": "#/components/schemas/entity"}
    return {
        "enriched": {name: part for name, part in whole.items() if name not in {"$schema", "$id"}},
        **parts,
    }


def _event() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "subject", "datacontenttype", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": _TEXT,
            "source": _TEXT,
            "type": {"const": EVENT_TYPE},
            "subject": {"enum": [*CATEGORIES, NONE]},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "data": {"$ref": "#/components/schemas/enriched"},
        },
    }


def enriched_headers(settings: ContractOptions) -> dict[str, Any]:
    """Give the JSON Schema of an enriched document's headers."""
    if settings.cloudevents == "structured":
        return _headers(
            "an enriched document", {"content-type": {"const": STRUCTURED.decode()}}, ["content-type"]
        )
    properties: dict[str, Any] = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**_TEXT, "description": "opaque; a repeat has the same"},
        "ce_source": {**_TEXT, "description": "/fewnerd-stream/<group>"},
        "ce_type": {"const": EVENT_TYPE},
        "ce_subject": {"enum": [*CATEGORIES, NONE], "description": "the topic's category"},
        "content-type": {"const": "application/json"},
        "ce_time": {"type": "string", "format": "date-time", "description": "of the document's first record"},
    }
    return _headers("an enriched document", properties, [name for name in properties if name != "ce_time"])


def _place() -> dict[str, Any]:
    return {
        envelope.ATTEMPT: {**_NUMBER, "description": "attempts before this one"},
        envelope.REPLAY: {**_NUMBER, "description": "how often it was replayed"},
        envelope.TOPIC: {**_TEXT, "description": "the document's first record"},
        envelope.PARTITION: _NUMBER,
        envelope.OFFSET: _NUMBER,
        envelope.TIMESTAMP: {**_NUMBER, "description": "milliseconds since the epoch"},
    }


def retry_headers() -> dict[str, Any]:
    """Give the JSON Schema of the headers on retry topics."""
    place = _place()
    due = {envelope.NOT_BEFORE: {**_NUMBER, "description": "when it is due, in milliseconds since the epoch"}}
    required = [*(name for name in place if name != envelope.TIMESTAMP), envelope.NOT_BEFORE]
    return _headers("a document on a retry topic", place | due, required)


def dead_letter_headers() -> dict[str, Any]:
    """Give the JSON Schema of a dead letter's headers."""
    place, errors = _place(), envelope.ERRORS
    own: dict[str, Any] = {
        envelope.REASON: {"enum": [str(reason) for reason in Reason]},
        envelope.ATTEMPTS: {**_NUMBER, "description": "attempts made"},
        envelope.MODEL: {**_TEXT, "description": "the model's digest"},
        errors + "topic": {**_TEXT, "description": "where it was read the last time"},
        errors + "partition": _NUMBER,
        errors + "offset": _NUMBER,
        errors + "stage": _TEXT,
        errors + "exception.class.name": _TEXT,
        errors + "exception.message": _TEXT,
        errors + "exception.stacktrace": _TEXT,
    }
    for part in ("value", "key", "headers"):
        own[envelope.SIZE + part] = {
            **_NUMBER,
            "description": "bytes, where it is a letter without its value",
        }
    required = [
        *(name for name in place if name != envelope.TIMESTAMP),
        *(envelope.REASON, envelope.ATTEMPTS),
        *(errors + name for name in ("topic", "partition", "offset", "stage")),
    ]
    return _headers("a dead letter", place | own, required)


def _headers(what: str, properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "$schema": DIALECT,
        "title": f"Headers of {what}",
        "type": "object",
        "required": sorted(required),
        "properties": properties,
    }
