"""Transactions of one message each, at a steady rate."""

import json
import sys
import threading
import time

import psycopg

WRITERS = 4

PUBLISH = """
select outbox.publish(%(topic)s, 'order.paid', %(payload)s::json, group_key => %(group)s)
"""


def main(database_url: str, topic: str, rate: str, seconds: str) -> None:
    """Prints [n, id, nanoseconds] for each message: when its commit was answered.

    By the machine's clock, which is Postgres's as well.
    """
    per_second, count = int(rate), int(rate) * int(seconds)
    committed: list[tuple[int, int, int]] = []
    begins_at = time.monotonic() + 0.5

    def write(writer: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for n in range(writer, count, WRITERS):
                time.sleep(max(0.0, begins_at + n / per_second - time.monotonic()))
                message = {
                    "topic": topic,
                    "payload": f'{{"n": {n}, "text": "'.ljust(498, "x") + '"}',
                    "group": f"group-{n % 1000}",
                }
                row = connection.execute(PUBLISH, message, prepare=True).fetchone()
                assert row is not None
                committed.append((n, row[0], time.time_ns()))

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(committed))


if __name__ == "__main__":
    main(*sys.argv[1:])
