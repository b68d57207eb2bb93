"""Consumers in Java, JavaScript and Go read what is written, once each, and put entities where they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fewnerd_client import read

from tests.subscribers.conftest import CATEGORIES, documents, need, run
from tests.support.kafka import jars

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fewnerd_client import Raw

    from tests.support.kafka import KafkaCluster

EXAMPLES = Path(__file__).parents[2] / "client" / "examples"
COUNT = 20


def _utf16(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _bytes(text: str) -> int:
    return len(text.encode())


def _expected(records: Iterable[Raw], length: Callable[[str], int]) -> set[tuple[Any, ...]]:
    return {
        (
            message.id,
            one.label,
            length(message.text()[: one.start]),
            length(message.text()[: one.end]),
            one.text,
        )
        for message in map(read, records)
        for one in message.entities
    }


def _java(folder: Path) -> list[str]:
    classpath = f"{folder}:{jars()}/*"
    run(need("javac"), "-cp", classpath, "-d", str(folder), str(EXAMPLES / "java" / "Subscriber.java"))
    return [need("java"), "-cp", classpath, "Subscriber"]


def _javascript(folder: Path) -> list[str]:
    shutil.copytree(EXAMPLES / "javascript", folder / "js", ignore=shutil.ignore_patterns("node_modules"))
    run(need("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock", folder=folder / "js")
    return [need("node"), str(folder / "js" / "subscriber.js")]


def _go(folder: Path) -> list[str]:
    run(need("go"), "build", "-o", str(folder / "subscriber"), ".", folder=EXAMPLES / "go")
    return [str(folder / "subscriber")]


@pytest.mark.parametrize(
    ("build", "length"),
    [(_java, _utf16), (_javascript, _utf16), (_go, _bytes)],
    ids=["java", "javascript", "go"],
)
def test_it_reads_what_is_written(  # noqa: PLR0917 - fixtures
    kafka: KafkaCluster,
    unique: str,
    publish: Callable[[Iterable[Raw]], None],
    tmp_path: Path,
    build: Callable[[Path], list[str]],
    length: Callable[[str], int],
) -> None:
    """Each entity once, repeats passed over, at the places where the language counts it; then it has committed."""
    records = documents(COUNT, unique)
    publish(records)
    program = build(tmp_path)
    topics = ",".join(f"{unique}.{category}" for category in CATEGORIES)
    arguments = (kafka.bootstrap, f"{unique}-group", topics)
    lines = [json.loads(line) for line in run(*program, *arguments, str(2 * COUNT)).splitlines()]
    found = [(line["id"], line["label"], line["start"], line["end"], line["text"]) for line in lines]
    assert set(found) == _expected(records, length)
    assert len(found) == len(set(found)) == 3 * COUNT
    more = [one for one in documents(COUNT + 1, unique) if read(one).id == f"d-{COUNT}"]
    publish(more[:2])
    again = [json.loads(line) for line in run(*program, *arguments, "2").splitlines()]
    assert f"d-{COUNT}" in {line["id"] for line in again}
    assert len({line["id"] for line in again}) <= 2, "it goes on where it had committed"
