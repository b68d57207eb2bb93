"""Messages as a worker writes them, for a subscriber's own tests."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import orjson

from fewnerd_client.messages import CATEGORIES, NONE, Entity, Headers, Raw
from fewnerd_client.reading import STRUCTURED, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fewnerd_client.messages import Enriched

DIGEST: Final = "sha256:" + "0" * 64
TIMESTAMP: Final = 1_764_000_000_000


def entity(
    text: str,
    wanted: str,
    label: str,
    *,
    score: float = 0.95,
    coarse_score: float | None = 0.97,
    nth: int = 0,
) -> Entity:
    """Build an entity of a text.

    Args:
        text: the document's.
        wanted: the part of it that is the entity.
        label: ``<coarse>-<fine>``.
        score: 0 to 1.
        coarse_score: the same; None: as a worker wrote that did not know it.
        nth: which occurrence, from 0.

    Raises:
        ValueError: it is not in the text so often, or the label has no category.
    """
    start = -1
    for _ in range(nth + 1):
        start = text.index(wanted, start + 1)
    coarse, _, fine = label.partition("-")
    if coarse not in CATEGORIES or not fine:
        raise ValueError(f"{label!r} is no label: <coarse>-<fine>, with one of {', '.join(CATEGORIES)}")
    return Entity(wanted, start, start + len(wanted), coarse, fine, label, score, coarse_score)


def messages(
    text: str,
    entities: Sequence[tuple[str, str] | Entity] = (),
    *,
    id: str = "doc-1",  # noqa: A002 - the contract's own word
    key: bytes | None = None,
    headers: Headers = (),
    prefix: str = "entities",
    group: str = "fewnerd-stream",
    topic: str = "raw-documents",
    partition: int = 0,
    offset: int = 0,
    timestamp: int | None = TIMESTAMP,
    attempt: int = 0,
    replay: int = 0,
    digest: str = DIGEST,
    fields: Mapping[str, Any] | None = None,
    include_text: bool = True,
    all_entities: bool = False,
    structured: bool = False,
) -> list[Raw]:
    """Build all that a worker writes for one document: a record for each category, or one for none.

    Args:
        text: the document's.
        entities: built by ``entity``, or pairs of a part of the text and its label.
        id: the document's.
        key: the input's; None: none.
        headers: the input's.
        prefix: of the topics' names.
        group: the worker's.
        topic: the input topic; with ``partition`` and ``offset``, it makes the event's id.
        partition: of the document's first record.
        offset: of the document's first record.
        timestamp: of the document's first record, in milliseconds since the epoch.
        attempt: retries before.
        replay: replays before.
        digest: the model's.
        fields: more of the document.
        include_text: as the worker's ``FEWNERD_INCLUDE_TEXT``.
        all_entities: as the worker's ``FEWNERD_ALL_ENTITIES``.
        structured: as the worker's ``FEWNERD_CLOUDEVENTS=structured``.
    """
    found = [one if isinstance(one, Entity) else entity(text, *one) for one in entities]
    counts: dict[str, int] = {}
    for one in sorted(found, key=lambda one: one.coarse):
        counts[one.coarse] = counts.get(one.coarse, 0) + 1
    document = {"id": id, **({"text": text} if include_text else {}), **(fields or {})}
    made = []
    for category in counts or (NONE,):
        value = {
            "schema": 1,
            "id": id,
            "category": category,
            "entities": [_written(one) for one in found if all_entities or one.coarse == category],
            "counts": counts,
            "document": document,
            "source": {
                "topic": topic,
                "partition": partition,
                "offset": offset,
                "timestamp": timestamp,
                "attempt": attempt,
                "replay": replay,
            },
            "model": {"name": "test", "digest": digest, "precision": "int8"},
        }
        event = {
            "specversion": "1.0",
            "id": f"{topic}/{partition}/{offset}/{category}",
            "source": f"/fewnerd-stream/{group}",
            "type": "fewnerd.entities.v1",
            "subject": category,
        }
        if structured:
            data = orjson.dumps({**event, "datacontenttype": "application/json", "data": value})
            own: Headers = (("content-type", STRUCTURED.encode()),)
        else:
            data = orjson.dumps(value)
            own = (
                *((f"ce_{name}", each.encode()) for name, each in event.items()),
                ("content-type", b"application/json"),
            )
        made.append(Raw(f"{prefix}.{category}", 0, 0, timestamp, key, data, (*own, *headers)))
    return made


def enriched(text: str, *entities: tuple[str, str] | Entity, **options: Any) -> Enriched:  # noqa: ANN401 - see messages
    """Build the message of a document whose entities are of one category, or that has none.

    Raises:
        ValueError: they are of several; ``messages`` builds those.
    """
    made = messages(text, entities, **options)
    if len(made) != 1:
        raise ValueError("entities of several categories make several messages: build them with `messages`")
    return read(made[0])


def _written(one: Entity) -> dict[str, Any]:
    fields = asdict(one)
    if one.coarse_score is None:
        del fields["coarse_score"]
    return fields
