"""Topics on a broker: made by `create_topics` as the topology says, checked by `check_topics`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from fewnerd_stream.contract.topology import DAY_MS, RETRY_DAYS, ROOM, TopicSpec, all_topics
from fewnerd_stream.errors import BrokerError, TopicsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiokafka.admin import AIOKafkaAdminClient

    from fewnerd_stream.contract.topology import InputTopics
    from fewnerd_stream.settings import Settings

_VISIBLE_SECONDS: Final = 10.0
_EXISTS: Final = 36
_LEADERLESS: Final = -1
COMPACT: Final = "compact"


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is; ``config`` is None where the broker would not tell."""

    name: str
    partitions: int
    replication: int
    leaderless: tuple[int, ...] = ()
    config: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """Something about a topic that loses or stops documents (error), or may do so one day (warning)."""

    topic: str
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        """Give the message, which names the topic."""
        return self.message


async def create_topics(settings: Settings) -> dict[str, bool]:
    """Create the topics that are missing, and leave those that exist as they are.

    Returns:
        Each topic's name, and whether it was created now.

    Raises:
        BrokerError: no broker answers.
        TopicsError: some could not be created; the message names each and gives the broker's reason.
    """
    from fewnerd_stream.kafka.clients import admin  # noqa: PLC0415 - names need no Kafka client

    specs = all_topics(settings)
    async with admin(settings) as client:
        there = {state.name for state in await _states(client)}
        missing = [spec for spec in specs if spec.name not in there]
        created, refused = await _create(client, missing)
        if refused:
            raise TopicsError("\n  ".join(["topics that could not be created:", *refused]))
        await _until_visible(client, created)
    return {spec.name: spec.name in created for spec in specs}


async def _create(client: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> tuple[set[str], list[str]]:
    """Ask for topics; give the names of those that were created, and what was said of the others."""
    from aiokafka.admin import NewTopic  # noqa: PLC0415 - names need no Kafka client
    from aiokafka.errors import for_code  # noqa: PLC0415 - names need no Kafka client

    if not specs:
        return set(), []
    answer = await client.create_topics(
        [NewTopic(one.name, one.partitions, one.replication, topic_configs=dict(one.config)) for one in specs]
    )
    created: set[str] = set()
    refused: dict[str, list[str]] = {}
    for topic, code, *message in answer.topic_errors:
        if code == 0:
            created.add(topic)
        elif code != _EXISTS:  # somebody else was quicker, which is as good
            reason = message[0] if message and message[0] else for_code(code).__name__
            refused.setdefault(reason, []).append(topic)
    return created, [f"{', '.join(topics)}: {reason}" for reason, topics in refused.items()]


async def _until_visible(client: AIOKafkaAdminClient, names: set[str]) -> None:
    """Wait until a worker that starts now would find the topics: brokers learn of them one by one."""
    try:
        async with asyncio.timeout(_VISIBLE_SECONDS):
            while True:
                states = await _states(client)
                if names <= {state.name for state in states if state.partitions and not state.leaderless}:
                    return
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BrokerError(
            f"topics were created, but are not to be seen after {_VISIBLE_SECONDS:g} s"
        ) from None


async def check_topics(settings: Settings) -> list[TopicProblem]:
    """Look at every topic and list what is wrong with it, errors first; nothing is changed.

    Raises:
        BrokerError: no broker answers.
    """
    from fewnerd_stream.kafka.clients import admin  # noqa: PLC0415 - names need no Kafka client
    from fewnerd_stream.kafka.groups import clashes  # noqa: PLC0415 - names need no Kafka client

    names = [name for name, _ in settings.topology.roles()]
    async with admin(settings) as client:
        states = {state.name: state for state in await _states(client)}
        told, note = await configs(client, [name for name in names if name in states])
        partitions = {name: state.partitions for name, state in states.items()}
        others = {
            one: await clashes(client, settings.group, one, partitions) for one in settings.topology.inputs
        }
        forbidden = await client.forbidden([name for name in names if name not in states])
    states |= {
        name: TopicState(one.name, one.partitions, one.replication, one.leaderless, told.get(name))
        for name, one in states.items()
    }
    found = [one for one in problems_with(settings, states) if one.topic not in forbidden]
    if forbidden:
        found.append(TopicProblem(min(forbidden), "error", _unseen(forbidden)))
    found += [
        TopicProblem(one.retries[0], "error", _shared(settings, one, group))
        for one, groups in others.items()
        for group in groups
    ]
    if note:
        found.append(TopicProblem("", "warning", note))
    return sorted(found, key=lambda problem: problem.severity != "error")


async def _states(client: AIOKafkaAdminClient) -> list[TopicState]:
    """Describe all topics there are; to ask for one could create it."""
    states = []
    for topic in await client.describe_topics():
        partitions = topic["partitions"]
        states.append(
            TopicState(
                topic["topic"],
                len(partitions),
                min((len(one["replicas"]) for one in partitions), default=0),
                tuple(sorted(one["partition"] for one in partitions if one["leader"] == _LEADERLESS)),
            )
        )
    return states


async def configs(client: AIOKafkaAdminClient, names: list[str]) -> tuple[dict[str, dict[str, str]], str]:
    """Read topics' configurations; those that the broker will not tell are left out, and a note says so."""
    from aiokafka.admin.config_resource import (  # noqa: PLC0415 - names need no Kafka client
        ConfigResource,
        ConfigResourceType,
    )
    from aiokafka.errors import KafkaError, for_code  # noqa: PLC0415 - names need no Kafka client

    if not names:
        return {}, ""
    try:
        answers = await client.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        )
    except (KafkaError, TimeoutError, ValueError, TypeError) as error:
        # Not every broker that speaks Kafka's protocol speaks all of it.
        return (
            {},
            f"the topics' configuration was not checked: the broker does not tell ({type(error).__name__})",
        )
    found, reasons = {}, set()
    for code, message, _, name, entries, *_ in (one for answer in answers for one in answer.resources):
        if code:
            reasons.add(message or for_code(code).__name__)
        else:
            found[name] = {entry[0]: entry[1] for entry in entries}
    if not reasons:
        return found, ""
    return found, f"some topics' configuration was not checked: {'; '.join(sorted(reasons))}"


def problems_with(settings: Settings, states: Mapping[str, TopicState]) -> Iterator[TopicProblem]:
    """Compare the topics that there are with those that there must be.

    Args:
        settings: say which there must be.
        states: every topic of the cluster, by name.
    """
    for spec in all_topics(settings):
        state = states.get(spec.name)
        if state is None:
            yield TopicProblem(
                spec.name, "error", f"{spec.name}: there is no such topic{_like(spec.name, states)}"
            )
        elif not state.partitions:
            yield TopicProblem(spec.name, "error", f"{spec.name}: the topic has no partitions")
        else:
            yield from _replica_problems(spec, state)
            if state.config is not None:
                yield from _config_problems(settings, spec, state.config, states)
    for one in settings.topology.inputs:
        yield from _forgotten(one, states)


def _like(name: str, states: Mapping[str, TopicState]) -> str:
    """Say why a missing topic cannot be made, where another one has what Kafka takes for the same name."""
    plain = name.replace(".", "_")
    other = next((each for each in sorted(states) if each.replace(".", "_") == plain), None)
    return f", nor can there be: Kafka cannot tell it from {other}" if other else ""


def _shared(settings: Settings, one: InputTopics, group: str) -> str:
    own = f"{settings.group}.{one.input}"
    return (
        f"{one.retries[0]}: the group {group} uses this topic, too, for its input {own.removeprefix(f'{group}.')}: "
        f"one of the two groups needs another name"
    )


def _unseen(names: set[str]) -> str:
    return (
        f"no right to see {', '.join(sorted(names))}: whether they are there, and as they must be, cannot be told; "
        "Describe is needed, which Read and Write include"
    )


def forgetful(name: str, policy: str) -> str:
    """Say what is wrong with a topic of replayed dead letters that does not keep them all."""
    return (
        f"{name}: cleanup.policy is {policy}, which forgets what was replayed, so that it would be replayed again; "
        f"{COMPACT} is needed"
    )


def _replica_problems(spec: TopicSpec, state: TopicState) -> Iterator[TopicProblem]:
    if state.leaderless:
        parts = ", ".join(map(str, state.leaderless))
        yield TopicProblem(
            spec.name, "warning", f"{spec.name}: without a leader just now: partitions {parts}"
        )
    if spec.role == "input":
        return  # we only read it
    if state.replication < spec.replication:
        text = (
            f"{spec.name}: {state.replication} replicas, fewer than FEWNERD_REPLICATION ({spec.replication})"
        )
        yield TopicProblem(spec.name, "warning", text)
    least = _int(state.config, "min.insync.replicas")
    if least is not None and least > state.replication:
        text = (
            f"{spec.name}: min.insync.replicas is {least}, with {state.replication} replicas: "
            "nothing can be written"
        )
        yield TopicProblem(spec.name, "error", text)
    elif least is not None and least < int(spec.config["min.insync.replicas"]):
        text = f"{spec.name}: min.insync.replicas is {least}, less than FEWNERD_MIN_INSYNC_REPLICAS"
        yield TopicProblem(spec.name, "warning", text)


def _config_problems(
    settings: Settings, spec: TopicSpec, config: Mapping[str, str], states: Mapping[str, TopicState]
) -> Iterator[TopicProblem]:
    if spec.role == "marks":
        if (policy := config.get("cleanup.policy", "delete")) != COMPACT:
            yield TopicProblem(spec.name, "error", forgetful(spec.name, policy))
        return
    if spec.role != "input" and (policy := config.get("cleanup.policy", "delete")) != "delete":
        yield TopicProblem(
            spec.name,
            "error",
            f"{spec.name}: cleanup.policy is {policy}, which would drop documents, not delete",
        )
    size = _int(config, "max.message.bytes")
    if size is not None:
        yield from _size_problems(settings, spec, size, states)
    kept = _int(config, "retention.ms")
    if spec.role in {"retry", "dead"} and kept is not None and kept >= 0:
        yield from _retention_problems(settings, spec, kept)
    bound = _int(config, "retention.bytes")
    if spec.role in {"retry", "dead"} and bound is not None and bound >= 0:
        text = (
            f"{spec.name}: retention.bytes is {bound}: over that, documents that nobody has seen are deleted"
        )
        yield TopicProblem(spec.name, "warning", text)


def _size_problems(
    settings: Settings, spec: TopicSpec, size: int, states: Mapping[str, TopicState]
) -> Iterator[TopicProblem]:
    if spec.role == "input":
        if size + ROOM > settings.max_result_bytes:
            text = (
                f"{spec.name}: max.message.bytes is {size}: such a record cannot be handed on: "
                f"FEWNERD_MAX_RESULT_BYTES ({settings.max_result_bytes}) leaves no room for it and {ROOM}"
            )
            yield TopicProblem(spec.name, "error", text)
        elif size > settings.max_message_bytes:
            text = (
                f"{spec.name}: max.message.bytes is {size}, more than FEWNERD_MAX_MESSAGE_BYTES "
                f"({settings.max_message_bytes})"
            )
            yield TopicProblem(spec.name, "warning", text)
        return
    needed, why = settings.max_result_bytes, "FEWNERD_MAX_RESULT_BYTES"
    if spec.role != "output":
        own = settings.topology.of(spec.name)
        source = own.input if own else spec.name
        state = states.get(source)
        largest = _int(state.config if state else None, "max.message.bytes")
        needed = (settings.max_message_bytes if largest is None else largest) + ROOM
        why = f"the largest record on {source} and {ROOM} more"
    if size < needed:
        yield TopicProblem(
            spec.name, "error", f"{spec.name}: max.message.bytes is {size}, but {needed} are needed: {why}"
        )


def _retention_problems(settings: Settings, spec: TopicSpec, kept: int) -> Iterator[TopicProblem]:
    """Judge a time after which documents are deleted that were to wait, or to be looked into."""
    days = _spell(kept)
    if spec.role == "retry":
        longest = max(settings.retry_delays) * 1000
        if kept < longest + DAY_MS:
            text = f"{spec.name}: retention.ms is {days}, under the longest delay and a day: retries get lost"
            yield TopicProblem(spec.name, "error", text)
        elif kept < RETRY_DAYS * DAY_MS:
            text = f"{spec.name}: retention.ms is {days}: a longer stop than that would lose retries"
            yield TopicProblem(spec.name, "warning", text)
    else:
        severity: Literal["error", "warning"] = "error" if kept < RETRY_DAYS * DAY_MS else "warning"
        text = f"{spec.name}: retention.ms is {days}: dead letters are deleted after that; -1 keeps them"
        yield TopicProblem(spec.name, severity, text)


def _spell(milliseconds: int) -> str:
    """Write how long something is kept: ``6 days``, ``10 minutes``, ``100 ms``."""
    for size, unit in ((DAY_MS, "days"), (3_600_000, "hours"), (60_000, "minutes"), (1000, "seconds")):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{milliseconds} ms"


def _forgotten(one: InputTopics, states: Mapping[str, TopicState]) -> Iterator[TopicProblem]:
    """Name retry topics that were in use with more delays: nobody reads what waits there."""
    start = one.retries[0].removesuffix("1")
    count = len(one.retries)
    for name in sorted(states):
        if name.startswith(start) and name[len(start) :].isdecimal() and name not in one.retries:
            text = (
                f"{name}: nobody reads it with {count} delays in FEWNERD_RETRY_DELAYS; what waits there stays"
            )
            yield TopicProblem(name, "warning", text)


def _int(config: Mapping[str, Any] | None, name: str) -> int | None:
    value = None if config is None else config.get(name)
    return int(value) if isinstance(value, str) and value.removeprefix("-").isdecimal() else None
