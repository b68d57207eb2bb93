"""The JSON Schema of an enriched document, version 1: what a reader of the category topics may rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.contract.taxonomy import CATEGORIES, FINE_TYPES, LABELS, NONE

if TYPE_CHECKING:
    from collections.abc import Sequence

_COUNT: Final = {"type": "integer", "minimum": 0}

SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "$id": "urn:fewnerd:entities:v1",
    "title": "A document with its Few-NERD entities",
    "type": "object",
    "additionalProperties": False,
    "required": ["schema", "id", "category", "entities", "counts", "document", "source", "model"],
    "properties": {
        "schema": {"const": 1, "description": "version of this schema"},
        "id": {"type": "string", "minLength": 1, "description": "the document's id"},
        "category": {
            "enum": [*CATEGORIES, NONE],
            "description": "the topic's category; none: nothing was found in the document",
        },
        "entities": {
            "type": "array",
            "items": {"$ref": "#/$defs/entity"},
            "description": "the category's, or those of all categories if set so, in the text's order",
        },
        "counts": {
            "type": "object",
            "additionalProperties": False,
            "properties": {category: {"type": "integer", "minimum": 1} for category in CATEGORIES},
            "description": "number of entities in the document by category",
        },
        "document": {
            "type": "object",
            "description": "the input's value, byte for byte; without its text if set so",
        },
        "source": {
            "type": "object",
            "additionalProperties": False,
            "required": ["topic", "partition", "offset", "timestamp", "attempt", "replay"],
            "description": "the document's first record, also after retries and replays",
            "properties": {
                "topic": {"type": "string"},
                "partition": _COUNT,
                "offset": _COUNT,
                "timestamp": {"type": ["integer", "null"], "description": "milliseconds since the epoch"},
                "attempt": {**_COUNT, "description": "0: it passed at the first time"},
                "replay": {**_COUNT, "description": "how often it came back from the dead letters"},
            },
        },
        "model": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "digest", "precision"],
            "properties": {
                "name": {"type": "string"},
                "digest": {"type": "string", "description": "of the files that decide a result"},
                "precision": {"type": "string"},
            },
        },
    },
    "$defs": {
        "entity": {
            "type": "object",
            "additionalProperties": False,
            "required": ["text", "start", "end", "coarse", "fine", "label", "score"],
            "properties": {
                "text": {"type": "string", "minLength": 1},
                "start": {**_COUNT, "description": "Unicode code points of the text before the entity"},
                "end": {
                    "type": "integer",
                    "minimum": 1,
                    "description": "so that text[start:end] is the entity",
                },
                "coarse": {"enum": list(CATEGORIES)},
                "fine": {
                    "type": "string",
                    "minLength": 1,
                    "description": "the type in the category; the model's",
                },
                "label": {
                    "type": "string",
                    "minLength": 1,
                    "description": "as the model writes it; the bundled one <coarse>-<fine>",
                },
                "score": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": 1,
                    "description": "how probable it is that extent and label are both right",
                },
                "coarse_score": {
                    "type": "number",
                    "minimum": 0,
                    "maximum": 1,
                    "description": "how probable it is that extent and category are both right; the document is "
                    "on the category's topic for it. older workers write none",
                },
            },
        },
    },
}
"""One dictionary, and the only place that says it."""


def published(labels: Sequence[str] = ()) -> dict[str, Any]:
    """Give the schema as subscribers should hold messages against it: it passes over members to come.

    Args:
        labels: labels and categories to which a worker is restricted; none: whatever its model knows.
    """
    schema: dict[str, Any] = _open(SCHEMA)
    if labels:
        found = [label for label in LABELS if label in labels or label.partition("-")[0] in labels]
        found += [label for label in labels if label not in (*LABELS, *FINE_TYPES)]
        schema["$defs"]["entity"]["properties"]["label"]["enum"] = found
    return schema


def _open(schema: Any) -> Any:  # noqa: ANN401 - any part of a JSON Schema
    """Copy a schema without its ``additionalProperties``, but for ``counts``, whose categories are closed."""
    if isinstance(schema, list):
        return [_open(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: part if name == "counts" else _open(part)
        for name, part in schema.items()
        if name != "additionalProperties"
    }
