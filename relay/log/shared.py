"""What a run of several cursors reads: the log once, for all that go to one target."""

import time
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from itertools import chain, islice, zip_longest

from relay.database import Connection
from relay.log.claim import Claimed, delta_of
from relay.log.filters import Part, Sorter
from relay.log.message import Row, sizes
from relay.log.reading import RUN_BYTES, RUN_SECONDS, Look, Reading
from relay.log.run import SHORT_RUN_MESSAGES
from relay.log.sink import Page

# Cursors that are so far behind others of their kind may have a backlog, for which the others would
# wait, or none: messages that they don't want, and ids that were rolled back, leave them as far
# behind. Only reading tells. So a run with others reads for them last, so many messages and ids at
# most. Where it comes to so many, who took half of its even share or more goes alone until it has
# caught up.
MAX_BEHIND_IDS = 5000
FAR_MESSAGES = SHORT_RUN_MESSAGES
FAR_IDS = 20_000

# Places among the claims, by what they take of their reading and where they stand in it.
Takers = dict[Part, dict[tuple[int, int], list[int]]]


class SharedReading:
    """One run's way through the log, for cursors of one session.

    `claims` are those that this run is of, by their places among its takers; `waiting` are for the
    next run.
    """

    def __init__(
        self,
        connection: Connection,
        claims: Iterable[Claimed],
        limit: int,
        look: Look | None = None,
    ) -> None:
        """Of claims with a delta, and nothing besides; at most `limit` messages of each reading.

        `look`: see Reading.
        """
        self.claims: list[Claimed] = []
        self.waiting: list[Claimed] = []
        self.readings: list[Reading] = []
        self._of: list[Reading] = []
        self._takers: list[Takers] = []
        # Those for claims far behind others; and how many messages each of these has taken.
        self._far: list[Reading] = []
        self._taken: Counter[int] = Counter()
        of_priority: dict[int, list[Claimed]] = defaultdict(list)
        for claimed in claims:
            assert claimed.cursor.channel is None
            of_priority[claimed.cursor.priority].append(claimed)
        for priority in sorted(of_priority):
            # As in rounds of one cursor alone: the highest that has work takes what there is time
            # for, and each lower one moves.
            most = limit if not self.readings else min(limit, SHORT_RUN_MESSAGES)
            near, far = self._choose(of_priority[priority])
            for together in near:
                self._add(Reading(connection, together, most, look=look))
            if far:
                few = min(limit, FAR_MESSAGES)
                self._far.append(Reading(connection, far, few, limit_ids=FAR_IDS, look=look))
                self._add(self._far[-1])

    def _choose(self, claims: Iterable[Claimed]) -> tuple[list[list[Claimed]], list[Claimed]]:
        """For which claims of one priority this run reads together, first those that have least
        before them; and for which of those far behind it reads besides: of those that catch up
        soonest the oldest.

        Where all are far behind, no one follows the log whom they would hold up, and most of those
        with one target are next.
        """
        near: dict[tuple[str, int], list[Claimed]] = defaultdict(list)
        far: dict[tuple[str, int], list[Claimed]] = defaultdict(list)
        for claimed in claims:
            # Which shard a message is of goes by how many there are.
            key = delta_of(claimed).target, claimed.shards
            (far if _ids([claimed]) > MAX_BEHIND_IDS else near)[key].append(claimed)
        behind = sorted(far.values(), key=_runs_and_age if near else len)
        *later, last = behind or [[]]
        self.waiting += [claimed for together in later for claimed in together]
        return (sorted(near.values(), key=_ids), last) if near else ([last], [])

    def _add(self, reading: Reading) -> None:
        takers: Takers = defaultdict(lambda: defaultdict(list))
        for claimed in reading.claims:
            takers[reading.part(claimed)][reading.place(claimed)].append(len(self.claims))
            self.claims.append(claimed)
            self._of.append(reading)
        self.readings.append(reading)
        self._takers.append(takers)

    def of(self, place: int) -> Reading:
        """That of one of the claims."""
        return self._of[place]

    def is_done(self, place: int) -> bool:
        """Whether all that one of the claims had before it has been read."""
        return self._of[place].after_id >= delta_of(self.claims[place]).upto_id

    def has_backlog(self, place: int) -> bool:
        """Whether one of the claims, once read, has more to send than others should wait for."""
        reading = self._of[place]
        if reading not in self._far or not reading.is_full or self.is_done(place):
            return False
        return 2 * self._taken[place] * len(reading.claims) >= FAR_MESSAGES

    def pages(self) -> Generator[Page]:
        """What is read, for those that want it, streamed: one reading after the other."""
        former: Reading | None = None
        bounds = _Bounds()
        for reading, takers in zip(self.readings, self._takers, strict=True):
            if former is not None:
                former.end()
            former = reading
            sorter = Sorter(takers)
            with closing(reading.stream()) as pages:
                for rows in pages:
                    turn = self._turn(reading, rows, sorter, takers)
                    yield from turn
                    bounds.count(turn)
                    if bounds.are_reached():
                        # Of each reading that is left one page goes.
                        break

    def turns(self) -> Generator[list[Page]]:
        """The same by pages, all that was read together in one turn; for sinks that may be slow.

        Of each reading the first page goes before more of any: those of one may take what is theirs
        so slowly that there is no time for more.
        """
        bounds = _Bounds()
        of_priority: dict[int, list[_Begun]] = defaultdict(list)
        for reading, takers in zip(self.readings, self._takers, strict=True):
            begun = reading, reading.pages(), Sorter(takers), takers
            of_priority[reading.claims[0].cursor.priority].append(begun)
        # However many readings an urgent priority has, a lower one's first comes before the second.
        ranks = zip_longest(*of_priority.values())
        first_pages = [begun for rank in ranks for begun in rank if begun is not None]
        for reading, pages, sorter, takers in first_pages:
            for rows in islice(pages, 1):
                turn = self._turn(reading, rows, sorter, takers)
                yield turn
                bounds.count(turn)
        for reading, pages, sorter, takers in chain.from_iterable(of_priority.values()):
            if bounds.are_reached():
                return
            for rows in pages:
                turn = self._turn(reading, rows, sorter, takers)
                yield turn
                bounds.count(turn)
                if bounds.are_reached():
                    return

    def _turn(
        self, reading: Reading, rows: list[Row], sorter: Sorter, takers: Takers
    ) -> list[Page]:
        """What is new of these rows, for those that want it."""
        wanted = (
            (reading.new(place, some), places)
            for part, some in sorter.sort(rows).items()
            for place, places in takers[part].items()
        )
        turn = [Page(some, places) for some, places in wanted if some]
        if reading in self._far:
            for page in turn:
                self._taken.update(dict.fromkeys(page.takers, len(page.rows)))
        return turn


# A reading, what comes of it, and who takes what.
_Begun = tuple[Reading, Generator[list[Row]], Sorter, Takers]


class _Bounds:
    """Those of one run, for all readings together: what was not read stays in the log."""

    def __init__(self) -> None:
        self._left_bytes = RUN_BYTES
        self._ends_at = time.monotonic() + RUN_SECONDS

    def count(self, turn: Iterable[Page]) -> None:
        """These pages were taken."""
        self._left_bytes -= sum(sizes(page.rows) * len(page.takers) for page in turn)

    def are_reached(self) -> bool:
        """Whether no more than a first page goes of any reading."""
        return self._left_bytes <= 0 or time.monotonic() >= self._ends_at


def _ids(claims: Sequence[Claimed]) -> int:
    """How many messages they have at most before them."""
    return max(delta_of(claimed).upto_id for claimed in claims) - _after_id(claims)


def _runs_and_age(claims: Sequence[Claimed]) -> tuple[int, int]:
    """The last in this order take the fewest runs, and of those they are the oldest."""
    return -(_ids(claims) // FAR_IDS), -_after_id(claims)


def _after_id(claims: Sequence[Claimed]) -> int:
    return min(delta_of(claimed).after_id for claimed in claims)
