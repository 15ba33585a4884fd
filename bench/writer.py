"""Transactions of one message each at a steady rate, by the statement that a relay's users run."""

import json
import sys
import threading
import time

import psycopg

WRITERS = 4

PUBLISH = """
select outbox.publish(%(topic)s, 'order.paid', %(payload)s, group_key => %(group)s)
"""


def message(channel: str, n: int) -> dict[str, str]:
    """The statement's parameters for message n: 500 bytes, one of 1,000 groups."""
    return {
        "topic": channel,
        "payload": f'{{"n": {n}, "text": "'.ljust(498, "x") + '"}',
        "group": f"group-{n % 1000}",
    }


def main(database_url: str, statement: str, channel: str, rate: str, seconds: str) -> None:
    """Prints [n, id, nanoseconds] for each message: when its commit was answered.

    The id is what the statement returns, or null. By the machine's clock, which is Postgres's too.
    """
    per_second, count = int(rate), int(rate) * int(seconds)
    committed: list[tuple[int, int | None, int]] = []
    begins_at = time.monotonic() + 0.5

    def write(writer: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for n in range(writer, count, WRITERS):
                time.sleep(max(0.0, begins_at + n / per_second - time.monotonic()))
                written = connection.execute(statement, message(channel, n), prepare=True)
                at = time.time_ns()
                row = written.fetchone() if written.description else None
                committed.append((n, row[0] if row else None, at))

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(committed))


if __name__ == "__main__":
    main(*sys.argv[1:])
