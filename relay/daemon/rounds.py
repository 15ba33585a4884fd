"""Which cursor is next: higher priorities first, and each lower one a short run in every round."""

import time
from collections.abc import Callable, Iterable

from relay.log.cursor import Cursor
from relay.log.reading import RUN_MESSAGES
from relay.log.run import SHORT_RUN_MESSAGES, Ran
from relay.process.interval import Interval

# A cursor that follows the log claims again without a question whether there is work. How often it
# is asked meanwhile whether others have some, which may be more urgent.
LOOK_SECONDS = 0.02
# How soon a cursor is tried again of which nothing can go. (Those that wait for a topic come from
# the probe no sooner than that.)
WAITING_SECONDS = 0.5


# So many channel cursors have a run in each round, once their topics are there: there may be
# hundreds that catch up.
MAX_CHANNEL_CURSORS = 1


class Rounds:
    """Turns of one subscription's cursors. Not thread-safe."""

    def __init__(self) -> None:
        self._waits_until: dict[int, float] = {}
        self._limit = RUN_MESSAGES
        self._looking = Interval(LOOK_SECONDS)

    def halve(self, messages: int | None = None) -> None:
        """The last run failed, which had so many messages: the next is half as long, so that a slow
        link progresses.
        """
        self._limit = max(min(self._limit, messages or RUN_MESSAGES) // 2, 1)

    def serve(
        self,
        offered: Iterable[Cursor],
        run: Callable[[Cursor, int, bool], Ran | None],
        probe: Callable[[], Iterable[Cursor]],
        stopping: Callable[[], bool],
    ) -> None:
        """Runs the offered cursors, and those that get work meanwhile, until none can go on.

        `run` is given a cursor, the most messages that it may send, and whether it runs again at
        once.
        """
        pending = self._ready(offered)
        while pending and not stopping():
            looks = self._looking.begin_if_over()
            progressed = False
            highest = min((one.priority for one in pending.values() if not one.channel), default=0)
            of_channels = 0
            for cursor in sorted(pending.values(), key=_turn):
                if stopping() or of_channels == MAX_CHANNEL_CURSORS:
                    break
                full = cursor.priority == highest and cursor.channel is None
                limit = self._limit if full else SHORT_RUN_MESSAGES
                again = len(pending) == 1 and not looks
                ran = run(cursor, min(limit, self._limit), again)
                if cursor.channel is not None:
                    # Behind those that have not had their turn.
                    pending[cursor.id] = pending.pop(cursor.id)
                    of_channels += ran is not None and not ran.blocked
                if ran is not None and ran.aborted:
                    self.halve(ran.messages)
                elif ran is not None and ran.progressed:
                    # One that has only looked its topics up says nothing about the link. Longer by
                    # a little: what was too long for a slow one is soon reached again.
                    self._limit = min(self._limit + self._limit // 8 + 1, RUN_MESSAGES)
                    progressed = True
                if ran is not None and ran.blocked and not cursor.waits:
                    self._waits_until[cursor.id] = time.monotonic() + WAITING_SECONDS
                if ran is None or ran.blocked or (ran.exhausted and not ran.begun):
                    del pending[cursor.id]
            if looks and (pending or progressed):
                pending |= self._ready(probe())

    def _ready(self, cursors: Iterable[Cursor]) -> dict[int, Cursor]:
        now = time.monotonic()
        return {one.id: one for one in cursors if self._waits_until.get(one.id, 0.0) <= now}


def _turn(cursor: Cursor) -> tuple[bool, int, int, int]:
    """Channel cursors come last, in the order of `pending`: sorting is stable."""
    if cursor.channel is not None:
        return True, 0, 0, 0
    return False, cursor.priority, cursor.shard, cursor.id
