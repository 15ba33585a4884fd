"""Several databases, a relay each, one Kafka: order in each group, nothing lost, and the rate.

Each transaction takes a group's row, counts it up and publishes the number. So a consumer that has
a group's numbers in their order and without a gap has all that was committed. One relay is killed
in the middle, and started anew.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import LiteralString

import msgspec
import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from bench import pgbench
from bench.arena import POSTGRES_SETTINGS
from bench.scale.stage import Stage
from bench.watch import PATIENCE_SECONDS
from local.postgres import Postgres
from local.program import Program
from relay import migrations

DATABASES = 4
GROUPS = 50
WRITERS = 2
TOPIC = "scale.counted"
AWAY_SECONDS = 1.0
POLL_SECONDS = 0.2

MAKE_TALLY: LiteralString = """
create table public.tally (id integer primary key, n bigint not null default 0)
"""
FILL_TALLY: LiteralString = """
insert into public.tally (id) select generate_series(1, %s)
"""
# Pgbench's own variables stand behind colons. The channel is TOPIC.
SCRIPT = r"""
\set g random(1, :groups)
begin;
update public.tally set n = n + 1 where id = :g returning n \gset
select outbox.publish('scale.counted', 'counted', json_build_object('n', :n::bigint),
    group_key => :database::text || '-' || :g::text);
commit;
"""
COUNTED: LiteralString = "select id, n from public.tally"

_number = msgspec.json.Decoder(dict[str, int]).decode


class Merged(msgspec.Struct, frozen=True, kw_only=True):
    """Of all databases together. `seconds`: from the writers' begin to the last arrival."""

    committed: int
    lost: int
    out_of_order: int
    repeats: int
    writers_seconds: float
    seconds: float


def merge(stage: Stage) -> Merged:
    """Writers in all databases at once, for so long, as fast as they go."""
    stage.tell(f"{DATABASES} databases, a relay each, one Kafka; one relay is killed")
    stage.arena.make_topic(TOPIC)
    script = stage.arena.directory / "counted.sql"
    script.write_text(SCRIPT)
    with _databases(stage) as urls, ExitStack() as stack:
        relays = [stack.enter_context(stage.arena.relay(database_url=url)) for url in urls]
        pool = stack.enter_context(ThreadPoolExecutor(DATABASES + 1))
        began_at = time.monotonic()
        writers = [
            pool.submit(
                pgbench.rate, url, script,
                f"--client={WRITERS}", f"--time={stage.sizes.databases}",
                f"--define=database={number}",
                f"--define=groups={GROUPS}",
            )
            for number, url in enumerate(urls)
        ]  # fmt: skip
        killed = pool.submit(_kill, relays[0], stage.sizes.databases / 2)
        reader = _Reader(stage.arena.kafka.bootstrap_servers)
        reader.read_while(writers)
        ended_at = time.monotonic()
        committed = {
            f"{number}-{id_}": n for number, url in enumerate(urls) for id_, n in _counted(url)
        }
        reader.read_until(committed)
        killed.result()
    lost, out_of_order, repeats = reckon(committed, reader.numbers)
    return Merged(
        committed=sum(committed.values()),
        lost=lost,
        out_of_order=out_of_order,
        repeats=repeats,
        writers_seconds=ended_at - began_at,
        seconds=reader.last_at - began_at,
    )


def reckon(
    committed: Mapping[str, int], numbers: Mapping[str, Sequence[int]]
) -> tuple[int, int, int]:
    """How many are lost, come first behind a later one of their group, and come again.

    `committed` is how far each group has counted, `numbers` what came of it in its order.
    """
    lost = out_of_order = repeats = 0
    for group, last in committed.items():
        came = numbers.get(group, ())
        first = list(dict.fromkeys(came))
        repeats += len(came) - len(first)
        lost += len(set(range(1, last + 1)) - set(first))
        out_of_order += sum(a > b for a, b in pairwise(first))
    return lost, out_of_order, repeats


@contextmanager
def _databases(stage: Stage) -> Iterator[list[str]]:
    """The URLs of so many servers of their own, migrated."""
    with ExitStack() as stack:
        urls = []
        for number in range(DATABASES):
            directory = stage.arena.directory / f"database-{number}"
            postgres = stack.enter_context(Postgres.start(directory, settings=POSTGRES_SETTINGS))
            with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
                for _ in migrations.migrate(connection, outbox_only=True):
                    pass
                connection.execute(MAKE_TALLY)
                connection.execute(FILL_TALLY, (GROUPS,))
            urls.append(postgres.dsn())
        yield urls


def _counted(url: str) -> list[tuple[int, int]]:
    with psycopg.connect(url) as connection:
        return connection.execute(COUNTED).fetchall()


def _kill(relay: Program, after_seconds: float) -> None:
    time.sleep(after_seconds)
    relay.kill()
    time.sleep(AWAY_SECONDS)
    relay.launch()


class _Reader:
    """A consumer of the topic, from its beginning; what came of each group, in its order."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.numbers: dict[str, list[int]] = defaultdict(list)
        self.last_at = time.monotonic()
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap_servers, "group.id": "bench", "log_level": 2}
        )
        partitions = self._consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        self._consumer.assign([TopicPartition(TOPIC, one, 0) for one in partitions])

    def read_while(self, writers: Sequence[Future[float]]) -> None:
        """Raises what a writer failed with."""
        while not all(writer.done() for writer in writers):
            self._read()
        for writer in writers:
            writer.result()

    def read_until(self, committed: Mapping[str, int]) -> None:
        """Until the last of each group is there, or nothing more comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(n and n not in self.numbers[group] for group, n in committed.items()):
            if self._read():
                deadline = time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > deadline:
                break
        self._consumer.close()

    def _read(self) -> int:
        messages = self._consumer.consume(10_000, POLL_SECONDS)
        for message in messages:
            if error := message.error():
                raise KafkaException(error)
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert value is not None
            self.numbers[key.decode()].append(_number(value)["n"])
        if messages:
            self.last_at = time.monotonic()
        return len(messages)
