"""The cursors that wait for a run of many, and whose turn it is."""

import random
from collections import Counter, deque
from collections.abc import Iterable, Set
from operator import attrgetter, itemgetter

from relay.log.cursor import Cursor
from relay.process.interval import Interval

# How often those move that want nothing of what is new, while others have something to send.
MOVE_TURN_SECONDS = 0.1


class WaitingCursors:
    """Those that have something to send go before those that only move, as far as is known."""

    def __init__(self) -> None:
        self._sending: deque[Cursor] = deque()
        self._moving: deque[Cursor] = deque()
        self._moves = Interval(MOVE_TURN_SECONDS)
        self._moves.begin_if_over()
        self._urgent_first = False

    def __bool__(self) -> bool:
        return bool(self._sending or self._moving)

    @property
    def sending_ids(self) -> Set[int]:
        """Those that have something to send."""
        return {cursor.id for cursor in self._sending}

    def add(
        self,
        sending: Iterable[Cursor],
        moving: Iterable[Cursor] = (),
        begun: Iterable[Cursor] = (),
    ) -> None:
        """More of either kind; not those whose next run has `begun`, nor any a second time."""
        known = {cursor.id for cursor in (*begun, *self._sending)}
        self._sending.extend(cursor for cursor in sending if cursor.id not in known)
        known |= {cursor.id for cursor in (*self._sending, *self._moving)}
        self._moving.extend(cursor for cursor in moving if cursor.id not in known)

    def take(self, most: int, relays: int) -> list[Cursor]:
        """Those of the next run: at most so many, and the part of one of so many relays."""
        if self._moving and (not self._sending or self._moves.begin_if_over()):
            return self._take(self._moving, most, relays)
        places = self._share(self._sending, most, relays)
        if len(self._sending) > places:
            return self._choose(places)
        return self._take(self._sending, most, relays)

    def _choose(self, places: int) -> list[Cursor]:
        """By turns the most urgent, and those that have waited longest; the others stay in order.

        Each subscription has a place before any has its second: one with hundreds of cursors, whose
        shards and priorities have work at every run, keeps nobody else's out.
        """
        self._urgent_first = not self._urgent_first
        waiting: Iterable[Cursor] = self._sending
        if self._urgent_first:
            waiting = sorted(waiting, key=attrgetter("priority"))
        counts: Counter[int] = Counter()
        ranked = list[tuple[int, Cursor]]()
        for cursor in waiting:
            ranked.append((counts[cursor.subscription_id], cursor))
            counts[cursor.subscription_id] += 1
        chosen = [cursor for _, cursor in sorted(ranked, key=itemgetter(0))[:places]]
        ids = {cursor.id for cursor in chosen}
        self._sending = deque(cursor for cursor in self._sending if cursor.id not in ids)
        return chosen

    def mix(self) -> None:
        """Relays begin at different places, so that they do not ask for the same cursors."""
        for waiting in (self._sending, self._moving):
            waiting.rotate(random.randrange(len(waiting) or 1))

    def _take(self, waiting: deque[Cursor], most: int, relays: int) -> list[Cursor]:
        return [waiting.popleft() for _ in range(self._share(waiting, most, relays))]

    def _share(self, waiting: deque[Cursor], most: int, relays: int) -> int:
        return min(most, -(-len(waiting) // relays))
