"""The consumer that a user would write: aiokafka, a loop, ``pipeline(batch)``, produce, commit.

``python -m benchmarks.naive`` runs it; nothing in it is slower than it need be, and nothing is safer.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.rivals import OptimumPipeline, TorchPipeline


def main() -> None:
    """Consume so many documents, and end."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "input", "output", "group", "folder", "pipeline"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("count", "threads", "batch"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--graph", type=Path)
    options = parser.parse_args()
    pipeline: TorchPipeline | OptimumPipeline
    if options.pipeline == "torch":
        pipeline = TorchPipeline(Path(options.folder), options.threads, options.batch)
    else:
        pipeline = OptimumPipeline(Path(options.folder), options.threads, options.batch, options.graph)
    pipeline.run(["Angela Merkel flew to Paris."])
    asyncio.run(_consume(options, pipeline))


async def _consume(options: argparse.Namespace, pipeline: TorchPipeline | OptimumPipeline) -> None:
    consumer = AIOKafkaConsumer(
        options.input,
        bootstrap_servers=options.bootstrap,
        group_id=options.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    producer = AIOKafkaProducer(bootstrap_servers=options.bootstrap, acks="all", linger_ms=5)
    await consumer.start()
    await producer.start()
    done = 0
    try:
        while done < options.count:
            found = await consumer.getmany(timeout_ms=1000, max_records=max(32, options.batch))
            messages = [message for of_partition in found.values() for message in of_partition]
            if not messages:
                continue
            documents = [json.loads(message.value) for message in messages]
            results = pipeline.found([document["text"] for document in documents])
            sent = [
                await producer.send(options.output, _value(document, entities), key=message.key)
                for message, document, entities in zip(messages, documents, results, strict=True)
            ]
            await asyncio.gather(*sent)
            await consumer.commit()
            done += len(messages)
    finally:
        await consumer.stop()
        await producer.stop()


def _value(document: dict[str, Any], entities: list[dict[str, Any]]) -> bytes:
    found = [{**entity, "score": float(entity["score"])} for entity in entities]
    return json.dumps({**document, "entities": found}).encode()


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
