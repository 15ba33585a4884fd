"""The ceiling: the messages of the log, held in memory, through a bare produce loop."""

import gc
import json
import sys
import time
from collections.abc import Sequence

import psycopg
from confluent_kafka import Producer

from bench.producing import flush, headers, producer
from relay.kafka.headers import Headers
from relay.log.message import as_sent

BARRIER_MESSAGES = 20_000

READ = """
select payload, group_key, type, idempotency_key, content_type, created_at
from outbox.message
order by id
"""


Prepared = tuple[bytes, bytes | None, Headers]


def prepare(database_url: str) -> list[Prepared]:
    """The whole log as the loop takes it: payload, key and headers of each message."""
    with psycopg.connect(database_url) as connection, connection.cursor(binary=True) as cursor:
        as_sent(cursor)
        rows = [
            (payload, key, headers(*rest))
            for payload, key, *rest in cursor.execute(READ).fetchall()
        ]
    # A collection would walk all these rows, which no relay has in memory.
    gc.freeze()
    return rows


def send(sink: Producer, topic: str, rows: Sequence[Prepared]) -> None:
    """The loop. Its arguments go by position, as the relay's: that is the quicker way."""
    produce = sink.produce
    for start in range(0, len(rows), BARRIER_MESSAGES):
        for payload, key, row_headers in rows[start : start + BARRIER_MESSAGES]:
            produce(topic, payload, key, -1, None, None, 0, row_headers)
        flush(sink)


def main(database_url: str, bootstrap_servers: str, topic: str) -> None:
    """Prints {messages, seconds, cpu_seconds}, first produce to last acknowledgement."""
    rows = prepare(database_url)
    sink = producer(bootstrap_servers, topic)
    began_at, used = time.monotonic(), time.process_time()
    send(sink, topic, rows)
    seconds, cpu_seconds = time.monotonic() - began_at, time.process_time() - used
    print(json.dumps({"messages": len(rows), "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
