"""What the Kafka client raises, as an operator reads it."""

from __future__ import annotations

import re

import pytest
from aiokafka import errors as kafka

from fewnerd_stream.errors import BrokerError, TopicsError
from fewnerd_stream.kafka.clients import broker_errors
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings(bootstrap_servers="a:1,b:2")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            kafka.KafkaConnectionError("Unable to bootstrap from [('a', 1)]"),
            BrokerError,
            "no broker answers at a:1,b:2",
        ),
        (
            kafka.KafkaConnectionError("reset"),
            BrokerError,
            "no broker answers at a:1,b:2: KafkaConnectionError: reset",
        ),
        (
            kafka.SaslAuthenticationFailed("no such user"),
            BrokerError,
            "the broker at a:1,b:2 refused: [Error 58] SaslAuthenticationFailed: no such user",
        ),
        (
            kafka.TopicAuthorizationFailedError("t"),
            BrokerError,
            "the broker at a:1,b:2 refused: [Error 29] TopicAuthorizationFailedError: t",
        ),
        (
            kafka.UnknownTopicOrPartitionError("t"),
            TopicsError,
            "no such topic at a:1,b:2: [Error 3] UnknownTopicOrPartitionError: t",
        ),
        (
            kafka.RequestTimedOutError(),
            BrokerError,
            "the broker at a:1,b:2 failed: [Error 7] RequestTimedOutError",
        ),
        (TimeoutError(), BrokerError, "the broker at a:1,b:2 did not answer in time"),
    ],
)
def test_errors_name_the_servers_and_the_reason(
    error: Exception, kind: type[Exception], message: str
) -> None:
    """The original error is kept as the cause."""
    with pytest.raises(kind, match=f"^{re.escape(message)}$") as caught, broker_errors(SETTINGS):
        raise error
    assert caught.value.__cause__ is error


def test_other_errors_pass() -> None:
    """A fault of the program is not the broker's."""
    with pytest.raises(KeyError), broker_errors(SETTINGS):
        raise KeyError
