"""Read the entities that fewnerd-stream publishes.

async with subscribe("person", bootstrap="localhost:9092", group="mine") as stream:
    async for message in stream:
        print(message.id, [entity.text for entity in message.entities])
"""

from __future__ import annotations

from fewnerd_client.errors import ClientError, TopicMissingError, UnreadableMessageError
from fewnerd_client.messages import CATEGORIES, NONE, Enriched, Entity, Headers, Joined, Model, Raw, Source
from fewnerd_client.reading import read
from fewnerd_client.seen import SqliteStore, Store
from fewnerd_client.stream import Stream, subscribe

__all__ = [
    "CATEGORIES",
    "NONE",
    "ClientError",
    "Enriched",
    "Entity",
    "Headers",
    "Joined",
    "Model",
    "Raw",
    "Source",
    "SqliteStore",
    "Store",
    "Stream",
    "TopicMissingError",
    "UnreadableMessageError",
    "read",
    "subscribe",
]
