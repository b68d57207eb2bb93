"""The console before a real browser: Debian's chromium, driven by playwright; documents are written by the test."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from fewnerd_stream.contract.documents import Document, encode
from fewnerd_stream.contract.envelope import dead_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.kafka.embedded import EmbeddedBroker, EmbeddedBrokerError, find_binary
from fewnerd_stream.kafka.topics import create_topics
from fewnerd_stream.settings import load_settings
from tests.support import clients
from tests.support.processes import Process, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fewnerd_stream.contract.records import Outgoing

TOKEN = "a-token-of-the-tests"


def _missing(reason: str) -> None:
    if os.environ.get("CI_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Run one chromium for all tests; skips with the reason, or fails where ``CI_REQUIRE_BROWSER`` is set."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        _missing("there is no chromium: apt-get install chromium, or name one with CHROMIUM")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--enable-precise-memory-info"],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """Open an empty page; what it complains of fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 860})
    context.set_default_timeout(30_000)
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "console", lambda message: wrong.append(message.text) if "Content Security" in message.text else None
    )

    def dialog(shown: Any) -> None:
        wrong.append(f"a dialog: {shown.message}")
        shown.dismiss()

    opened.on("dialog", dialog)
    yield opened
    context.close()
    assert not wrong


class Entity:
    """An entity as the tagger gives it."""

    def __init__(self, text: str, name: str, label: str, score: float = 0.9) -> None:
        self.start = text.index(name)
        self.end = self.start + len(name)
        self.text, self.label, self.score, self.coarse_score = name, label, score, score
        self.coarse, _, self.fine = label.partition("-")


class Model:
    """A model's name."""

    name, digest, precision = "test", "sha256:0", "int8"


class Stage:
    """A broker with a group's topics, a console before it, and documents on demand."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._number = 0
        self.broker = stack.enter_context(EmbeddedBroker())
        self.settings = load_settings(
            bootstrap_servers=self.broker.bootstrap, idempotence=False, partitions=1, group="browser"
        )
        # In a thread: playwright has a loop of its own in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(create_topics(self.settings))).result()
        token = folder / "token"
        token.write_text(TOKEN)
        arguments = [
            "console",
            "--port",
            "0",
            "--dead-letters",
            "--token-file",
            str(token),
            "--group",
            "browser",
        ]
        self.process = stack.enter_context(
            Process(
                [sys.executable, "-m", "fewnerd_stream", *arguments],
                folder / "console.log",
                os.environ
                | {"FEWNERD_BOOTSTRAP_SERVERS": self.broker.bootstrap, "FEWNERD_IDEMPOTENCE": "false"},
            )
        )
        until("the console listens", lambda: "The console is at" in self._log(), 30)
        match = re.search(r"The console is at (\S+)", self._log())
        assert match
        self.url = match[1]

    def _log(self) -> str:
        return (self._folder / "console.log").read_text(errors="replace")

    def document(self, text: str, *entities: Entity, **more: Any) -> tuple[Outgoing, ...]:
        """Write an enriched document's records as a worker does."""
        self._number += 1
        value = json.dumps({"id": f"d-{self._number}", "text": text} | more).encode()
        record = Record("raw-documents", 0, self._number, 1_700_000_000_000, None, value)
        source = Source("raw-documents", 0, self._number, 1_700_000_000_000)
        document = Document(f"d-{self._number}", text, value)
        return encode(record, source, document, entities, Model(), self.settings)

    def send(self, *documents: tuple[Outgoing, ...]) -> None:
        """Put documents, or whatever else, on their topics."""
        by_topic: dict[str, list[clients.New]] = {}
        for out in chain.from_iterable(documents):
            by_topic.setdefault(out.topic, []).append(clients.New(out.value, out.key, out.headers))
        for topic, news in by_topic.items():
            clients.produce(self.broker.bootstrap, topic, news)

    def bury(self, value: bytes, reason: Reason = Reason.NOT_JSON) -> None:
        """Put a dead letter on its topic."""
        self._number += 1
        record = Record("raw-documents", 0, self._number, 1_700_000_000_000, b"k", value)
        source = Source("raw-documents", 0, self._number, 1_700_000_000_000)
        out = dead_record(
            record, source, reason, "decode", ValueError("no <b>JSON</b>"), "sha256:0", self.settings
        )
        self.send((out,))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Set a stage; skips where there is no embedded broker."""
    try:
        find_binary()
    except EmbeddedBrokerError as error:
        _missing(str(error))
    with ExitStack() as stack:
        yield Stage(tmp_path, stack)


@pytest.fixture
def axe() -> Callable[[Any], list[str]]:
    """Give a function that lists what axe-core finds wrong with a page as it is."""
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Any) -> list[str]:
        found = Axe().run(page).response["violations"]
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found
            for node in one["nodes"]
        ]

    return check
