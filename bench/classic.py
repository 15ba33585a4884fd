"""The usual outbox relay, as well as it can be done: rows locked with SKIP LOCKED, then deleted."""

import json
import sys
import time

import psycopg

from bench.producing import flush, headers, producer
from relay.log.message import as_sent

PAGE = """
select id, payload, group_key, type, idempotency_key, content_type, created_at
from public.outbox
order by id
for update skip locked
limit 2000
"""
DELETE = "delete from public.outbox where id = any (%s)"


def main(database_url: str, bootstrap_servers: str, topic: str) -> None:
    """Drains the table. Prints {messages, seconds, cpu_seconds}, first claim to last commit."""
    sink = producer(bootstrap_servers, topic)
    produce = sink.produce
    messages = 0
    with psycopg.connect(database_url) as connection, connection.cursor(binary=True) as cursor:
        as_sent(cursor)
        began_at, used = time.monotonic(), time.process_time()
        while page := cursor.execute(PAGE, prepare=True).fetchall():
            for _, payload, key, *rest in page:
                produce(topic, payload, key, -1, None, None, 0, headers(*rest))
            flush(sink)
            cursor.execute(DELETE, ([row[0] for row in page],), prepare=True)
            connection.commit()
            messages += len(page)
            seconds, cpu_seconds = time.monotonic() - began_at, time.process_time() - used
    print(json.dumps({"messages": messages, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
