"""Harm to the retry topics and the dead letters: deleted, and forbidden, while workers run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.faults import fuzz, load
from tests.faults.catalogue import scenario
from tests.faults.clusters import AS_WORKER
from tests.faults.outside import delete_topics
from tests.faults.tagger import chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.reference import Tagged
    from tests.faults.stage import Stage
    from tests.support.clients import New

_SHARE: Final = 0.02
_POISON_EVERY: Final = 50


@scenario(
    8,
    "topic-trouble",
    "retry and dead-letter topics that are forbidden, or deleted",
    kind="login",
    documents=15_000,
    few=800,
    settings={"retry_delays": "1,2,4", **AS_WORKER},
    quick={"retry_delays": "0.5,1,1.5", **AS_WORKER},
)
def topic_trouble(stage: Stage) -> None:
    """Take each topic away in each way; nothing may be acked past it, and all goes on when it is back."""
    specials: list[str | Tagged] = []
    stage.expected.specials = specials
    stage.expected.dies = lambda number, _: "model-error" if chosen(number, _SHARE) else None
    stage.order(documents=_SHARE)
    stage.mix(_some_poison(stage.seed, specials))
    stage.start(2, faulty=True)
    stage.load(backlog=500)
    stage.flow(200)
    retry, dead = stage.names.retries[0], stage.names.dead
    troubles = [(topic, *trouble) for topic in (retry, dead) for trouble in _TROUBLES]
    for done, (topic, what, harm, undo) in enumerate(troubles):
        stage.progress(done, len(troubles))
        harm(stage, topic)
        stage.fault(f"{topic.removeprefix(stage.names.input)[1:]} {what}")
        stage.until(f"a worker says that {topic} {what}", lambda: _waiting(stage), 120)
        stage.sleep(stage.pick(20, 2))
        undo(stage, topic)
        stage.fault("")
        stage.flow(100)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle(extra=30)


def _some_poison(seed: int, specials: list[str | Tagged]) -> Iterator[tuple[int, New]]:
    number = 0
    while True:
        for _ in range(_POISON_EVERY - 1):
            yield number, load.record(seed, number)
            number += 1
        special = load.SPECIAL + len(specials)
        reason, value = fuzz.poison(len(specials))
        specials.append(reason)
        new = load.record(seed, special)
        yield special, type(new)(value, new.key, new.headers)


def _waiting(stage: Stage) -> bool:
    return any(worker.health().get("state") == "waiting" for worker in stage.workers)


def _acl(
    topic: str,
) -> tuple[ResourceType, str, ResourcePatternType, str, str, AclOperation, AclPermissionType]:
    return (
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:worker",
        "*",
        AclOperation.WRITE,
        AclPermissionType.DENY,
    )


def _forbid(stage: Stage, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": stage.cluster.direct, "log_level": 0})
    # With a rule there must be one that allows: else nobody may do anything.
    allow = AclBinding(*_acl(topic)[:5], AclOperation.ALL, AclPermissionType.ALLOW)
    for future in client.create_acls([allow, AclBinding(*_acl(topic))]).values():
        future.result(20)


def _allow(stage: Stage, topic: str) -> None:
    client = AdminClient({"bootstrap.servers": stage.cluster.direct, "log_level": 0})
    everything = AclBindingFilter(*_acl(topic)[:5], AclOperation.ANY, AclPermissionType.ANY)
    for future in client.delete_acls([everything]).values():
        future.result(20)


def _delete(stage: Stage, topic: str) -> None:
    """Delete a topic at a quiet moment, so that nothing is lost by the deletion; keep what was on it."""
    stage.loader.pause()
    stage.until("nothing is on its way", stage._quiet, 120)
    stage.archive.setdefault(topic, []).extend(stage.read(topic))
    delete_topics(stage.cluster.direct, [topic])
    stage.load(backlog=500)


def _create(stage: Stage, _topic: str) -> None:
    stage.create_topics()


_TROUBLES: Final[tuple[tuple[str, Callable[[Stage, str], None], Callable[[Stage, str], None]], ...]] = (
    ("is forbidden", _forbid, _allow),
    ("is gone", _delete, _create),
)
"""What can be the matter with a topic, how to bring it about, and how to undo it."""
