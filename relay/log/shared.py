"""What a run of several cursors reads: the log once, for all that stand at one place."""

import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain, islice, zip_longest

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

# How it is read, and who takes what.
_Place = tuple[Generator[list[Row]], Sorter, dict[Filter, list[int]]]


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
        """The places of one priority that this run reads, first those that have least before them.

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
            return sorted(near, key=_ids)
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
        """What is read, for those that want it, streamed: one place after the other."""
        former: Reading | None = None
        bounds = _Bounds()
        for reading, takers in zip(self.readings, self._takers, strict=True):
            if former is not None:
                former.end()
            former = reading
            sorter = Sorter(takers)
            with closing(reading.stream()) as pages:
                for rows in pages:
                    turn = _turn(rows, sorter, takers)
                    yield from turn
                    bounds.count(turn)
                    if bounds.are_reached():
                        # Of each place that is left one page goes.
                        break

    def turns(self) -> Generator[list[Page]]:
        """The same by pages, all that was read together in one turn; for sinks that may be slow.

        Of each place the first page goes before more of any: those of one place may take what is
        theirs so slowly that there is no time for more.
        """
        bounds = _Bounds()
        of_priority: dict[int, list[_Place]] = defaultdict(list)
        for reading, takers in zip(self.readings, self._takers, strict=True):
            place = reading.pages(), Sorter(takers), takers
            of_priority[reading.claims[0].cursor.priority].append(place)
        # However many places an urgent priority has, a lower one's first comes before the second.
        ranks = zip_longest(*of_priority.values())
        first_pages = [place for rank in ranks for place in rank if place is not None]
        for pages, sorter, takers in first_pages:
            for rows in islice(pages, 1):
                turn = _turn(rows, sorter, takers)
                yield turn
                bounds.count(turn)
        for pages, sorter, takers in chain.from_iterable(of_priority.values()):
            if bounds.are_reached():
                return
            for rows in pages:
                turn = _turn(rows, sorter, takers)
                yield turn
                bounds.count(turn)
                if bounds.are_reached():
                    return


class _Bounds:
    """Those of one run, for all places together: what was not read stays in the log."""

    def __init__(self) -> None:
        self._left_bytes = RUN_BYTES
        self._ends_at = time.monotonic() + RUN_SECONDS

    def count(self, turn: Iterable[Page]) -> None:
        """These pages were taken."""
        self._left_bytes -= sum(sizes(page.rows) * len(page.takers) for page in turn)

    def are_reached(self) -> bool:
        """Whether no more than a first page goes of any place."""
        return self._left_bytes <= 0 or time.monotonic() >= self._ends_at


def _turn(rows: list[Row], sorter: Sorter, takers: dict[Filter, list[int]]) -> list[Page]:
    wanted = ((sorter.wanted(one, rows), takers[one]) for one in takers)
    return [Page(some, places) for some, places in wanted if some]


def _ids(place: Sequence[Claimed]) -> int:
    """How many messages it has at most before it."""
    delta = place[0].position.delta
    assert delta is not None
    return delta.upto_id - delta.after_id
