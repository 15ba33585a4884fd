"""Transactions of one message each at a steady rate, by the statement that a candidate's users run.

The publishers of txoutbox and faststream-outbox send this very statement; from one Python process
only a fraction of the rate would come out of them.
"""

import json
import sys
import threading
import time

import psycopg

WRITERS = 4


def message(channel: str, n: int) -> dict[str, str]:
    """The parameters of a candidate's `publish` for message n: 500 bytes, one of 1,000 groups."""
    return {
        "topic": channel,
        "payload": f'{{"n": {n}, "text": "'.ljust(498, "x") + '"}',
        "group": f"group-{n % 1000}",
    }


def main(database_url: str, statement: str, channel: str, rate: str, seconds: str) -> None:
    """Prints [n, nanoseconds] for each message: when its commit was answered."""
    per_second, count = int(rate), int(rate) * int(seconds)
    committed: list[tuple[int, int]] = []
    begins_at = time.monotonic() + 0.5

    def write(writer: int) -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            for n in range(writer, count, WRITERS):
                time.sleep(max(0.0, begins_at + n / per_second - time.monotonic()))
                connection.execute(statement, message(channel, n), prepare=True)
                committed.append((n, time.time_ns()))

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(committed))


if __name__ == "__main__":
    main(*sys.argv[1:])
