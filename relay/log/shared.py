"""What a run of several cursors reads: the log once, for all that stand at one place."""

import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing

from relay.database import Connection
from relay.log.claim import Claimed
from relay.log.filters import Filter, Sorter
from relay.log.message import Row, sizes
from relay.log.position import Position
from relay.log.reading import RUN_BYTES, RUN_SECONDS, Reading
from relay.log.run import SHORT_RUN_MESSAGES
from relay.log.sink import Page

# A cursor that is so far behind others of its kind goes alone until it has caught up: they would
# wait for it.
MAX_BEHIND_IDS = 5000

Stream = Callable[[Reading], Generator[list[Row]]]


class SharedReading:
    """One run's way through the log, for cursors of one session.

    `claims` are those that this run is of, by their places among its takers; `waiting` are for the
    next run, and `behind` have to go alone.
    """

    def __init__(self, connection: Connection, claims: Iterable[Claimed], limit: int) -> None:
        """Of claims with a delta, and nothing besides; at most `limit` messages of each place."""
        self.claims: list[Claimed] = []
        self.waiting: list[Claimed] = []
        self.behind: list[Claimed] = []
        self.readings: list[Reading] = []
        self._of: list[Reading] = []
        self._takers: list[dict[Filter, list[int]]] = []
        of_priority: dict[int, list[Claimed]] = defaultdict(list)
        for claimed in claims:
            assert claimed.cursor.channel is None
            of_priority[claimed.cursor.priority].append(claimed)
        for priority in sorted(of_priority):
            # As in rounds of one cursor alone: the highest that has work takes what there is time
            # for, and each lower one moves.
            most = limit if not self.readings else min(limit, SHORT_RUN_MESSAGES)
            for place in self._choose(of_priority[priority]):
                self._add(Reading(connection, place, most))

    def _choose(self, claims: Iterable[Claimed]) -> list[list[Claimed]]:
        """The places of one priority that this run reads, the oldest first.

        Where all are far behind, no one follows the log that they would hold up, and the place
        where most of them stand is next.
        """
        places: dict[tuple[Position, int, int], list[Claimed]] = defaultdict(list)
        for claimed in claims:
            # Each shard reads messages of its own.
            key = claimed.position, claimed.shards, claimed.cursor.shard
            places[key].append(claimed)
        near = [place for place in places.values() if _ids(place) <= MAX_BEHIND_IDS]
        far = [place for place in places.values() if _ids(place) > MAX_BEHIND_IDS]
        if near:
            self.behind += [claimed for place in far for claimed in place]
            return sorted(near, key=_after_id)
        far.sort(key=len)
        self.waiting += [claimed for place in far[:-1] for claimed in place]
        return far[-1:]

    def _add(self, reading: Reading) -> None:
        takers: dict[Filter, list[int]] = defaultdict(list)
        for claimed in reading.claims:
            takers[Filter.of(claimed.channels, claimed.types)].append(len(self.claims))
            self.claims.append(claimed)
            self._of.append(reading)
        self.readings.append(reading)
        self._takers.append(takers)

    def of(self, place: int) -> Reading:
        """That of one of the claims."""
        return self._of[place]

    def pages(self) -> Generator[Page]:
        """What is read, for those that want it, streamed."""
        with closing(self.turns(Reading.stream)) as turns:
            for pages in turns:
                yield from pages

    def turns(self, stream: Stream) -> Generator[list[Page]]:
        """The same, all that was read together in one turn; `stream` says how it is read."""
        former: Reading | None = None
        left_bytes, ends_at = RUN_BYTES, time.monotonic() + RUN_SECONDS
        for reading, takers in zip(self.readings, self._takers, strict=True):
            if former is not None:
                former.end()
            former = reading
            sorter = Sorter(takers)
            with closing(stream(reading)) as pages:
                for rows in pages:
                    wanted = ((sorter.wanted(one, rows), takers[one]) for one in takers)
                    turn = [Page(some, places) for some, places in wanted if some]
                    yield turn
                    left_bytes -= sum(sizes(page.rows) * len(page.takers) for page in turn)
                    if left_bytes <= 0 or time.monotonic() >= ends_at:
                        # What was not read stays in the log: the bounds are those of one run, and
                        # of each place that is left one page goes.
                        break


def _ids(place: Sequence[Claimed]) -> int:
    """How many messages it has at most before it."""
    delta = place[0].position.delta
    assert delta is not None
    return delta.upto_id - delta.after_id


def _after_id(place: Sequence[Claimed]) -> int:
    delta = place[0].position.delta
    assert delta is not None
    return delta.after_id
