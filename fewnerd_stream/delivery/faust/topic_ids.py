"""Which topic it is that bears a name: a topic that was made anew has another id, and begins at offset 0 again."""

# ruff: noqa: ANN401 - aiokafka's clients have no types

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, ClassVar

from aiokafka.client import ConnectionGroup
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from io import BytesIO

_BYTES = 16
_NONE = bytes(_BYTES)


class _Uuid(AbstractType[bytes]):
    @classmethod
    def encode(cls, value: bytes) -> bytes:
        return value

    @classmethod
    def decode(cls, data: BytesIO) -> bytes:
        return data.read(_BYTES)


class _MetadataResponse(Response):
    """Version 10, the first with topics' ids: aiokafka has five."""

    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "brokers",
            CompactArray(
                ("node_id", Int32),
                ("host", CompactString("utf-8")),
                ("port", Int32),
                ("rack", CompactString("utf-8")),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        (
            "topics",
            CompactArray(
                ("error_code", Int16),
                ("name", CompactString("utf-8")),
                ("topic_id", _Uuid),
                ("is_internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", CompactArray(Int32)),
                        ("isr", CompactArray(Int32)),
                        ("offline_replicas", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("authorized_operations", Int32),
                ("tags", TaggedFields),
            ),
        ),
        ("cluster_authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _MetadataRequestV10(RequestStruct):
    API_KEY = 3
    API_VERSION = 10
    FLEXIBLE_VERSION: ClassVar[bool] = True
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(("topic_id", _Uuid), ("name", CompactString("utf-8")), ("tags", TaggedFields)),
        ),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _MetadataRequest(Request[_MetadataRequestV10]):
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequestV10]) -> _MetadataRequestV10:
        topics: list[tuple[bytes, str, dict[int, bytes]]] = [(_NONE, name, {}) for name in self._topics]
        return request_struct_class(topics, False, False, False, {})


async def topic_ids(client: Any, node: int, topics: Collection[str]) -> dict[str, str]:
    """Ask for the ids of topics, as Kafka's own tools write them; those that the broker does not tell are missing.

    Args:
        client: aiokafka's, in its own thread.
        node: the coordinator's id: on its connection no long poll is under way.
        topics: their names.

    Raises:
        KafkaError: the broker did not answer.
    """
    try:
        answer = await client.send(node, _MetadataRequest(topics), group=ConnectionGroup.COORDINATION)
    except (IncompatibleBrokerVersion, NotImplementedError):  # Kafka before 2.8, and others than Kafka
        return {}
    found = {}
    for error, name, identity, *_ in answer.topics:
        if not error and name is not None and identity != _NONE:
            found[name] = base64.urlsafe_b64encode(identity).decode().rstrip("=")
    return found
