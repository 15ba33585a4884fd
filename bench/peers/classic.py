"""The classic relay of `make bench`, as a process that goes on."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, LiteralString

import psycopg

from bench.arena import Arena
from bench.classic import DELETE, PAGE
from bench.messages import CLASSIC_TABLE, FILL_CLASSIC
from bench.peers.candidate import Candidate
from bench.producing import flush, headers, producer
from local.program import Program
from relay.log.message import as_sent

POLL_INTERVAL_SECONDS = 0.005


class Classic(Candidate):
    """Rows locked with SKIP LOCKED, sent, deleted; 2,000 at a time."""

    name = "classic"
    truncate: ClassVar[LiteralString] = "truncate public.outbox"
    fill: ClassVar[Sequence[LiteralString]] = (FILL_CLASSIC, "analyze public.outbox")
    publish: ClassVar[LiteralString] = """
        insert into public.outbox (channel, type, group_key, payload)
        values (%(topic)s, 'order.paid', %(group)s, convert_to(%(payload)s, 'UTF8'))
    """

    @contextmanager
    def run(self, arena: Arena) -> Iterator[Sequence[Program]]:
        with arena.connect() as connection:
            connection.execute(CLASSIC_TABLE)
        arguments = [arena.database_url, arena.kafka.bootstrap_servers, self.channel]
        with Program.start(
            self.name,
            [sys.executable, "-m", "bench.peers.classic", *arguments],
            log=arena.directory / "classic.log",
            environment=arena.environment,
        ) as program:
            yield [program]


def main(database_url: str, bootstrap_servers: str, topic: str) -> None:
    """Empties the table into the topic until it is ended."""
    sink = producer(bootstrap_servers, topic)
    with psycopg.connect(database_url) as connection, connection.cursor(binary=True) as cursor:
        as_sent(cursor)
        while True:
            page = cursor.execute(PAGE, prepare=True).fetchall()
            for _, payload, key, *rest in page:
                sink.produce(topic, payload, key, headers=headers(*rest))
            if page:
                flush(sink)
                cursor.execute(DELETE, ([row[0] for row in page],), prepare=True)
            connection.commit()
            if not page:
                time.sleep(POLL_INTERVAL_SECONDS)


if __name__ == "__main__":
    main(*sys.argv[1:])
