"""Runs in the peers' environment: txoutbox as its README shows it for Postgres and Kafka."""

# mypy: disable-error-code="import-not-found"
import asyncio
import sys

import asyncpg
from aiokafka import AIOKafkaProducer
from txoutbox import OutboxMessage, Relay, RelayConfig
from txoutbox.adapters.postgres import PostgresStorage

CHANNEL = "txoutbox"
# As many groups at once as a round has messages, so that the producer fills its batches: a round
# is then within its lease, as RelayConfig asks.
CONFIG = RelayConfig(batch_size=500, concurrency=500)


async def main(command: str, database_url: str, *arguments: str) -> None:
    """`schema`; `publish` topic, key and payload; `relay` bootstrap servers."""
    async with asyncpg.create_pool(database_url) as pool:
        outbox = PostgresStorage(pool, table="txoutbox", delete_on_ack=True, notify_channel=CHANNEL)
        if command == "schema":
            await outbox.create_schema()
        elif command == "publish":
            topic, key, payload = arguments
            await outbox.add(topic, payload, key=key)
        else:
            await relay(outbox, *arguments)


async def relay(outbox: PostgresStorage, bootstrap_servers: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()

    async def publish(message: OutboxMessage) -> None:
        await producer.send_and_wait(
            message.topic, message.payload, key=message.key.encode() if message.key else None
        )

    running = Relay(outbox, publish, config=CONFIG)
    try:
        async with await outbox.listen(running.wake):
            print("ready", flush=True)
            await running.run(handle_signals=True)
    finally:
        await producer.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
