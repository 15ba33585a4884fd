"""This relay: at least once or exactly once, in one process or two."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import ClassVar, LiteralString

from bench.arena import Arena
from bench.messages import FILL_LOG
from bench.peers.candidate import Candidate
from bench.writer import PUBLISH
from local.program import Program

EXACT_PREFIX = "exact."

# A table for all variants: each begins with a subscription of its own.
FORGET = "select outbox.delete_subscription(name, true) from outbox.subscription"
SUBSCRIBE = """
insert into outbox.subscription (name, delivery, shards, settings)
values (%(name)s, %(delivery)s, %(shards)s, jsonb_build_object('topic_prefix', %(prefix)s::text))
"""


class ThisRelay(Candidate):
    """A subscription with a shard for each process."""

    truncate: ClassVar[LiteralString] = "truncate outbox.message"
    fill: ClassVar[Sequence[LiteralString]] = (FILL_LOG,)
    publish: ClassVar[LiteralString] = PUBLISH

    def __init__(self, name: str, *, exactly_once: bool, processes: int) -> None:
        self.name = name
        self._exactly_once = exactly_once
        self._processes = processes

    @property
    def topic(self) -> str:
        return (EXACT_PREFIX if self._exactly_once else "") + self.channel

    @contextmanager
    def run(self, arena: Arena) -> Iterator[Sequence[Program]]:
        with arena.connect() as connection:
            connection.execute(self.truncate)
            connection.execute(FORGET)
            subscription = {
                "name": self.name,
                "delivery": "exactly_once" if self._exactly_once else "at_least_once",
                "shards": self._processes,
                "prefix": EXACT_PREFIX if self._exactly_once else "",
            }
            connection.execute(SUBSCRIBE, subscription)
        with ExitStack() as stack:
            yield [stack.enter_context(arena.relay()) for _ in range(self._processes)]
