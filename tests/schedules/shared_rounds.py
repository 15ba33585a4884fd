"""The rounds of a worker that runs cursors of several subscriptions at once, to either receiver."""

from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString, Protocol

from relay.log.cursor import Cursor
from relay.log.run import Ran
from tests.schedules.script import Subscription
from tests.schedules.writer import CHANNEL, TYPE
from tests.sql.log import Session

MAX_RUNS = 200


class Work(Protocol):
    """What a session of the relay does, by the relay's own code."""

    def probe(self) -> list[Cursor]: ...

    def run_alone(self, cursor: Cursor) -> Ran | None:
        """None: another session has it."""

    def run_together(self, cursors: Sequence[Cursor], *, again: bool) -> dict[int, Ran]: ...

    def rest(self) -> None:
        """Gives back what is claimed ahead; not of a session that is dead."""


class Rounds:
    """What a worker does with what it finds, as the daemon's do. One that goes `alone` takes the
    last subscription's cursors; the others all but those that had to leave them and did not yet get
    on alone. What a run has claimed for the next is held between two rounds.

    `all_rounds` are those of all workers.
    """

    def __init__(
        self, work: Work, all_rounds: "list[Rounds]", last: Subscription, *, alone: bool
    ) -> None:
        all_rounds.append(self)
        self._work = work
        self._all_rounds = all_rounds
        self._last = last.name
        self._alone = alone
        self._begun: list[Cursor] = []
        self._left: set[str] = set()

    def begin(self) -> None:
        """A new schedule: all go together."""
        self._left.clear()

    def look(self) -> list[Cursor]:
        """The cursors of the next run."""
        if self._begun:
            return self._begun
        cursors = self._work.probe()
        if self._alone:
            return [one for one in cursors if one.subscription == self._last]
        return self._together(cursors)

    def run(self, cursors: Iterable[Cursor]) -> None:
        """One run, and of several the claim of the next."""
        if self._alone:
            self._run_alone(cursors)
        else:
            self._run_together(list(cursors), again=True)

    def rest(self) -> None:
        """No run follows: gives back what is claimed ahead."""
        self.die()
        self._work.rest()

    def die(self) -> None:
        """What was claimed ahead is lost."""
        self._begun = []

    def drain(self, answer: Callable[[], object] = lambda: None) -> None:
        """Runs all that has work, together and alone, and calls `answer` each time, until nothing
        has any.
        """
        for rounds in self._all_rounds:
            rounds.rest()
        answer()
        runs = 0
        while cursors := self._work.probe():
            self._run_alone(one for one in cursors if one.subscription in self._left)
            self._run_together(self._together(cursors), again=False)
            answer()
            runs += 1
            assert runs < MAX_RUNS, "the cursors do not come to an end"

    def _together(self, cursors: Iterable[Cursor]) -> list[Cursor]:
        return [one for one in cursors if one.subscription not in self._left]

    def _run_alone(self, cursors: Iterable[Cursor]) -> None:
        """The first that no other worker has; where it got on it may join the others again."""
        for cursor in cursors:
            ran = self._work.run_alone(cursor)
            if ran is None:
                continue
            if ran.progressed and not ran.alone:
                for rounds in self._all_rounds:
                    rounds._left.discard(cursor.subscription)
            return

    def _run_together(self, cursors: Sequence[Cursor], *, again: bool) -> None:
        """All that no other worker has."""
        self._begun = []
        if not cursors:
            return
        ran = self._work.run_together(cursors, again=again)
        known = [one for one in cursors if one.id in ran]
        self._left |= {one.subscription for one in known if ran[one.id].alone}
        self._begun = [one for one in known if ran[one.id].begun]


# The priorities whose cursors do not stand at one place.
SCATTERED = """
select latest.priority
from (
    select distinct on (c.id) c.priority, k.seen::text as seen
    from outbox.cursor c join outbox.checkpoint k on k.cursor_id = c.id
    order by c.id, k.n desc
) latest
group by latest.priority
having count(distinct latest.seen) > 1
"""
GATHER = "select outbox.publish(%s, %s, '{}', 'gathered', %s)"
# One that had to go alone moves with the others from the second time on.
MAX_GATHERED = 4


def gather(
    watcher: Session,
    drain: Callable[[], object],
    last: Subscription,
    scattered: LiteralString = SCATTERED,
) -> None:
    """Cursors that a schedule has left at several places come to stand at one, by a message that
    the last subscription wants. `scattered` says in which priorities there are such.
    """
    channel, type_ = (last.channels or (CHANNEL,))[0], (last.types or (TYPE,))[0]
    for _ in range(MAX_GATHERED):
        found = watcher.execute(scattered).fetchall()
        if not found:
            return
        for (priority,) in found:
            watcher.execute(GATHER, [channel, type_, priority])
        drain()
    raise AssertionError("the cursors do not come to one place")
