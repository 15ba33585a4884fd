"""What may grow, one dimension at a time, over one log that grows with it."""

from collections.abc import Callable, Collection, Iterator
from operator import attrgetter

import msgspec

from bench.arena import Arena, Connection
from bench.growth import log
from bench.growth.log import GROUPS
from bench.growth.open_transactions import open_transactions
from bench.growth.turn import Turn, drain
from bench.messages import TOPIC

# Tens of gigabytes go through a topic, and no consumer reads them.
FORGET_OTHERS = """
    select outbox.delete_subscription(name, true) from outbox.subscription where name <> 'kafka'
"""
TOPIC_BOUNDS = {"retention.bytes": "134217728", "segment.bytes": "33554432"}


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, but for `rounds`: how often a drain of less than millions is repeated."""

    rounds: int = 3
    backlogs: tuple[int, int, int] = (100_000, 1_000_000, 10_000_000)
    arrivals: int = 1_000_000
    grouped: int = 1_000_000
    snapshots: int = 300_000
    delivered: int = 500_000


QUICK = Sizes(
    rounds=1,
    backlogs=(10_000, 100_000, 1_000_000),
    arrivals=100_000,
    grouped=100_000,
    snapshots=30_000,
    delivered=50_000,
)


class Cell(msgspec.Struct, frozen=True):
    """One size in one dimension, measured in one turn or several."""

    dimension: str
    size: int
    label: str
    turns: list[Turn]


class Growth:
    """Yields each dimension's cells as they are measured, the smallest first.

    Every turn is one relay process over 500-byte messages, one subscription, 1,000 groups and an
    empty log, but for what its dimension makes grow.
    """

    def __init__(
        self, arena: Arena, connection: Connection, sizes: Sizes, tell: Callable[[str], None]
    ) -> None:
        self._arena = arena
        self._connection = connection
        self._sizes = sizes
        self._tell = tell

    def warm_up(self) -> None:
        """Makes the topic. Kafka's code is compiled as it runs."""
        self._arena.make_topic(TOPIC, TOPIC_BOUNDS)
        self._turn(self._sizes.snapshots)

    def log(self, wanted: Collection[str]) -> Iterator[Cell]:
        """`backlog` and `retained`: each backlog, once drained, is what the next drains lie upon.

        The smallest is drained before and after, so that what warms up or wears out in between
        counts for nothing.
        """
        small, *larger = self._sizes.backlogs
        first = self._rounds(small)
        cells: list[Cell] = []
        for size in larger:
            cells.append(Cell("backlog", size, f"{size:,}", [self._turn(size)]))
            if "retained" in wanted:
                above = self._rounds(small, emptied=False)
                cells.append(Cell("retained", size, f"{size:,}", above))
        first += self._rounds(small)
        cells += [Cell("backlog", small, f"{small:,}", first), Cell("retained", 0, "0", first)]
        for dimension in ("backlog", "retained"):
            found = [cell for cell in cells if cell.dimension == dimension]
            if dimension in wanted:
                yield from sorted(found, key=attrgetter("size"))

    def retention(self) -> Iterator[Cell]:
        """Under each the log has the partitions that so many days come to."""
        for days in (7, 730, 3650):
            log.empty(self._connection)
            log.retain(self._connection, days)
            turns = self._rounds(self._sizes.snapshots, emptied=False)
            yield Cell("retention", days, f"{days:,}", turns)

    def subscriptions(self) -> Iterator[Cell]:
        """As many messages in all, to 1, 10 and 100 subscriptions with topics of their own."""
        made = 1
        for streams in (1, 10, 100):
            while made < streams:
                self._subscribe(f"s{made}")
                made += 1
            turns = self._rounds(self._sizes.arrivals // streams, streams=streams)
            yield Cell("subscriptions", streams, f"{streams}", turns)
        self._connection.execute(FORGET_OTHERS)

    def groups(self) -> Iterator[Cell]:
        for groups in (10, self._sizes.grouped):
            turns = self._rounds(self._sizes.grouped, groups=groups)
            yield Cell("groups", groups, f"{groups:,}", turns)

    def transactions(self) -> Iterator[Cell]:
        for count in (1, 100, 1000):
            with open_transactions(self._arena, count):
                yield Cell("transactions", count, f"{count:,}", self._rounds(self._sizes.snapshots))

    def delivery(self) -> Iterator[Cell]:
        """At least once and exactly once, in turn."""
        turns: dict[str, list[Turn]] = {"at_least_once": [], "exactly_once": []}
        for _ in range(self._sizes.rounds):
            for delivery, taken in turns.items():
                self._connection.execute(SET_DELIVERY, (delivery,))
                taken.append(self._turn(self._sizes.delivered))
        self._connection.execute(SET_DELIVERY, ("at_least_once",))
        for size, (delivery, taken) in enumerate(turns.items()):
            yield Cell("delivery", size, delivery.replace("_", " "), taken)

    def _rounds(
        self, messages: int, *, groups: int = GROUPS, streams: int = 1, emptied: bool = True
    ) -> list[Turn]:
        return [
            self._turn(messages, groups=groups, streams=streams, emptied=emptied)
            for _ in range(self._sizes.rounds)
        ]

    def _turn(
        self, messages: int, *, groups: int = GROUPS, streams: int = 1, emptied: bool = True
    ) -> Turn:
        def fill() -> None:
            if emptied:
                log.empty(self._connection)
            log.add(self._connection, messages, groups)

        turn = drain(self._arena, self._connection, messages * streams, fill, streams)
        self._tell(f"{messages * streams:,} messages went at {turn.messages_per_second:,.0f} /s")
        return turn

    def _subscribe(self, name: str) -> None:
        prefix = f"{name}."
        self._arena.make_topic(prefix + TOPIC, TOPIC_BOUNDS)
        self._connection.execute(SUBSCRIBE, {"name": name, "prefix": prefix})


SET_DELIVERY = "update outbox.subscription set delivery = %s"
SUBSCRIBE = """
insert into outbox.subscription (name, settings)
values (%(name)s, jsonb_build_object('topic_prefix', %(prefix)s::text))
"""
