"""A loop over the log and nothing else: no claim, no cursor, no checkpoint, no look at a row."""

import json
import sys
import time

import psycopg

from bench.bare import BARRIER_MESSAGES
from bench.producing import flush, headers, producer
from relay.log.message import as_sent
from relay.log.reading import CHUNK_ROWS

READ = """
select payload, group_key, type, idempotency_key, content_type, created_at
from outbox.message
where priority = 3
order by id
"""


def main(database_url: str, bootstrap_servers: str, topic: str) -> None:
    """Prints {messages, seconds, cpu_seconds}, from the statement to the last acknowledgement."""
    sink = producer(bootstrap_servers, topic)
    produce = sink.produce
    messages = 0
    with psycopg.connect(database_url) as connection, connection.cursor(binary=True) as cursor:
        as_sent(cursor)
        # As the relay's sessions do: rows arrive in the order of the index, and are not sorted.
        connection.execute("set enable_seqscan = off")
        connection.execute("set enable_bitmapscan = off")
        began_at, used = time.monotonic(), time.process_time()
        for payload, key, *rest in cursor.stream(READ, size=CHUNK_ROWS):
            produce(topic, payload, key, -1, None, None, 0, headers(*rest))
            messages += 1
            if messages % BARRIER_MESSAGES == 0:
                flush(sink)
        flush(sink)
        seconds, cpu_seconds = time.monotonic() - began_at, time.process_time() - used
    print(json.dumps({"messages": messages, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
