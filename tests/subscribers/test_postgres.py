"""The PostgreSQL sink that is written with the client, under kills: one row for each event."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import pytest
from fewnerd_client import CATEGORIES, NONE, read

from tests.subscribers.conftest import documents, missing
from tests.support import clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fewnerd_client import Raw

    from tests.support.kafka import KafkaCluster

SINK = Path(__file__).parents[2] / "client" / "examples" / "postgres_sink.py"
KILLS = 6
COUNT = 1500


@pytest.fixture
def dsn() -> Iterator[str]:
    """Start PostgreSQL on a free port; as another user where we are root, which it refuses."""
    places = [*os.environ["PATH"].split(os.pathsep), *map(str, Path("/usr/lib/postgresql").glob("*/bin"))]
    initdb = shutil.which("initdb", path=os.pathsep.join(places))
    if initdb is None:
        missing("PostgreSQL is not installed: there is no initdb")
    assert initdb is not None
    owner = None if os.getuid() else pwd.getpwnam("postgres").pw_uid
    folder = Path(tempfile.mkdtemp(prefix="fewnerd-pg-"))
    if owner is not None:
        os.chown(folder, owner, -1)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", str(data), "-A", "trust", "-U", "sink", "-E", "UTF8", "--no-sync"],
        user=owner,
        check=True,
        capture_output=True,
        cwd=folder,
    )
    server = subprocess.Popen(
        [
            str(Path(initdb).with_name("postgres")),
            "-D",
            str(data),
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(folder),
        ],
        user=owner,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"postgresql://sink@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGQUIT)
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _rows(dsn: str) -> list[str]:
    """Give the events that have a row; none while there is no table or no server yet."""

    async def ask() -> list[str]:
        database = await asyncpg.connect(dsn)
        try:
            return [row["ce_id"] for row in await database.fetch("SELECT ce_id FROM enriched")]
        finally:
            await database.close()

    try:
        return asyncio.run(ask())
    except (OSError, asyncpg.UndefinedTableError, asyncpg.CannotConnectNowError):
        return []


def test_one_row_for_each_event_under_kills(
    kafka: KafkaCluster, unique: str, publish: Callable[[Iterable[Raw]], None], dsn: str
) -> None:
    """The sink is killed again and again while repeats come in: no event is lost, and none has two rows."""
    records = documents(COUNT, unique)
    publish(records)
    wanted = {str(read(record).ce_id) for record in records}
    command = [
        *(sys.executable, str(SINK), "--dsn", dsn, "--bootstrap", kafka.bootstrap, "--prefix", unique),
        *("--group", f"{unique}-sink", "--instance", "one", "--size", "20"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(SINK.parents[1])}
    until = time.monotonic() + 200
    observer = clients.Observer(kafka.bootstrap)
    topics = [f"{unique}.{category}" for category in (*CATEGORIES, NONE)]
    for kill in range(1, KILLS + 2):
        sink = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            goal = len(wanted) * kill // (KILLS + 1)
            while len(_rows(dsn)) < goal or (kill > KILLS and observer.lag(f"{unique}-sink", topics)):
                assert sink.poll() is None, (sink.stderr.read() if sink.stderr else b"").decode()
                assert time.monotonic() < until, f"{len(_rows(dsn))} of {len(wanted)} rows"
                time.sleep(0.02)
        finally:
            sink.kill()
            sink.wait()
            if sink.stderr:
                sink.stderr.close()
    rows = _rows(dsn)
    assert len(rows) == len(set(rows))
    assert set(rows) == wanted
