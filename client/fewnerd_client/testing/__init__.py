"""For a subscriber's own tests: messages, a broker in memory, and one in a process of its own."""

from __future__ import annotations

from fewnerd_client.testing.broker import Broker
from fewnerd_client.testing.builders import enriched, entity, messages
from fewnerd_client.testing.memory import Memory

__all__ = ["Broker", "Memory", "enriched", "entity", "messages"]
