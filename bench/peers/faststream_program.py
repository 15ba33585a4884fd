"""Runs in the peers' environment: faststream-outbox's relay, as its guides show it."""

# mypy: disable-error-code="import-not-found, untyped-decorator"
import asyncio
import json
import logging
import sys
from typing import Any

from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream_outbox import OutboxBroker, make_outbox_table
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

QUEUE = "peers"
WORKERS = 16
# A fetch for all workers, and deletes in batches, as the guide advises for idempotent consumers.
BATCH = 100

metadata = MetaData()
table = make_outbox_table(metadata, table_name="faststream_outbox")


async def main(command: str, database_url: str, *arguments: str) -> None:
    """`schema`; `publish` a JSON body; `relay` bootstrap servers and topic."""
    # The guide's sum: a session for each worker and one that fetches.
    engine = create_async_engine(
        database_url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=WORKERS + 1
    )
    outbox = OutboxBroker(engine, outbox_table=table, log_level=logging.WARNING)
    if command == "schema":
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
    elif command == "publish":
        await publish(engine, outbox, *arguments)
    else:
        await relay(outbox, *arguments)
    await engine.dispose()


async def publish(engine: AsyncEngine, outbox: OutboxBroker, body: str) -> None:
    async with async_sessionmaker(engine)() as session, session.begin():
        await outbox.publish(json.loads(body), queue=QUEUE, session=session)


async def relay(outbox: OutboxBroker, bootstrap_servers: str, topic: str) -> None:
    kafka = KafkaBroker(bootstrap_servers, log_level=logging.WARNING)

    @kafka.publisher(topic)
    @outbox.subscriber(
        QUEUE, max_workers=WORKERS, fetch_batch_size=BATCH, terminal_flush_batch_size=BATCH
    )
    async def forward(body: dict[str, Any]) -> dict[str, Any]:
        return body

    app = FastStream(outbox, on_startup=[kafka.connect])
    await app.run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
