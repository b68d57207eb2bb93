"""Enriched documents into PostgreSQL: one row for each event, however often the sink or the worker is killed.

    python postgres_sink.py person location --bootstrap localhost:9092 --dsn postgresql://localhost/news

A batch is one transaction, and ``ce_id`` is the primary key: what comes twice changes nothing. Offsets are
committed after the transaction, so what a kill interrupts comes again.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

import asyncpg

from fewnerd_client import CATEGORIES, NONE, subscribe

if TYPE_CHECKING:
    from fewnerd_client import Enriched

TABLE = """
CREATE TABLE IF NOT EXISTS enriched (
    ce_id    text PRIMARY KEY,
    id       text NOT NULL,
    category text NOT NULL,
    model    text NOT NULL,
    value    json NOT NULL
)"""
INSERT = "INSERT INTO enriched VALUES ($1, $2, $3, $4, $5::json) ON CONFLICT (ce_id) DO NOTHING"


def row(message: Enriched) -> tuple[str | None, str, str, str, str]:
    """Make a row. PostgreSQL's text holds no NUL: an id's becomes U+FFFD, and ``json`` keeps it as written."""
    identity = message.id.replace("\0", "\ufffd")
    return message.ce_id, identity, message.category, message.model.digest, message.value.decode()


async def sink(arguments: argparse.Namespace) -> None:
    """Write until told to stop."""
    database = await asyncpg.connect(arguments.dsn)
    await database.execute(TABLE)
    # A static member that was killed comes back into its place without waiting for its session's end.
    member = {"group_instance_id": arguments.instance} if arguments.instance else {}
    async with subscribe(
        *arguments.categories,
        bootstrap=arguments.bootstrap,
        group=arguments.group,
        prefix=arguments.prefix,
        **member,
    ) as stream:
        async for batch in stream.batch(arguments.size, within=0.5):
            async with database.transaction():
                await database.executemany(INSERT, [row(message) for message in batch])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("categories", nargs="*", default=[*CATEGORIES, NONE], help="by default all, and none")
    parser.add_argument("--bootstrap", default="localhost:9092", help="Kafka brokers")
    parser.add_argument("--group", default="postgres-sink", help="the consumer group")
    parser.add_argument("--instance", help="this member's own name: makes a restart quick")
    parser.add_argument("--prefix", default="entities", help="the worker's FEWNERD_OUTPUT_PREFIX")
    parser.add_argument("--dsn", required=True, help="the database, postgresql://...")
    parser.add_argument("--size", type=int, default=500, help="most rows in a transaction")
    asyncio.run(sink(parser.parse_args()))


if __name__ == "__main__":
    main()
