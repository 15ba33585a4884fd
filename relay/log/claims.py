"""The claims of one session's runs: the next one is asked for in the round trip of a run's end."""

import time
from collections.abc import Callable, Sequence
from typing import LiteralString

from relay.database import Connection
from relay.log.claim import Asked, Claimed, has_work, leave
from relay.log.cursor import Cursor
from relay.log.known_filters import KnownFilters


class Claims:
    """Of one connection. What is claimed ahead has to be taken by the next run, or given back."""

    def __init__(
        self,
        connection: Connection,
        relay: str,
        timeout_seconds: float,
        besides: LiteralString | None = None,
    ) -> None:
        """See `claim`."""
        self._connection = connection
        self._relay = relay
        self._timeout_seconds = timeout_seconds
        self._besides = besides
        self._known = KnownFilters()
        self._asked: Asked | None = None
        self._ahead: list[Claimed] = []
        # When the latest claim was asked for, by time.monotonic().
        self.asked_at = 0.0

    def take(self, cursors: Sequence[Cursor]) -> list[Claimed]:
        """What was claimed ahead, where it was of these, or else a new claim; see `claim`."""
        ahead, self._ahead = self._ahead, []
        if ahead and {claimed.cursor.id for claimed in ahead} == {one.id for one in cursors}:
            return ahead
        if ahead:
            leave(self._connection)
        with self._connection.pipeline():
            asked = self._ask(cursors)
        return asked.claimed()

    def asking(self, cursors: Sequence[Cursor]) -> Callable[[], None] | None:
        """What asks for these in a pipeline behind a commit; `keep` reads the answer."""
        if not cursors:
            return None

        def ask() -> None:
            self._asked = self._ask(cursors)

        return ask

    def keep(self) -> None:
        """Keeps what was asked for where any of it has work; nothing is held else."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        claimed = asked.claimed()
        if any(has_work(one) for one in claimed):
            self._ahead = claimed
        elif claimed:
            leave(self._connection)

    def has(self, cursor: Cursor) -> bool:
        """Whether it is claimed ahead."""
        return any(claimed.cursor.id == cursor.id for claimed in self._ahead)

    def rest(self) -> None:
        """Gives back what is claimed ahead: no run follows now."""
        if self._ahead:
            self._ahead = []
            leave(self._connection)

    def _ask(self, cursors: Sequence[Cursor]) -> Asked:
        self.asked_at = time.monotonic()
        return Asked(
            self._connection,
            cursors,
            self._relay,
            self._timeout_seconds,
            self._known,
            self._besides,
        )
