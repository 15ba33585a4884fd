"""Which owner's run is next: so many at once hold a connection to the database."""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

# An API key that is limited to channels, by its name; None: the operator.
Owner = str | None


class Turns:
    """`most` at once, and of an API key at most `of_a_key`. Of the owners that wait and may have
    another, the one that has the fewest is next.

    Every run that waits is served in the end: an owner's subscriptions have their turns one after
    the other. Safe from every thread.
    """

    def __init__(self, most: int, of_a_key: int | None = None) -> None:
        self._lock = threading.Lock()
        self._left = most
        self._of_a_key = most if of_a_key is None else of_a_key
        self._taken: Counter[Owner] = Counter()
        self._waiting: dict[Owner, deque[Future[bool]]] = {}
        self._closed = False

    @property
    def are_awaited(self) -> bool:
        """Whether a run waits for another's turn to end."""
        return bool(self._waiting)

    @contextmanager
    def turn(self, owner: Owner) -> Iterator[bool]:
        """Waits for one, however long that takes. False: it is closed, and there is none."""
        granted = self.ask(owner).result()
        try:
            yield granted
        finally:
            if granted:
                self.end(owner)

    @contextmanager
    def rest(self, owner: Owner) -> Iterator[None]:
        """Ends a turn of this owner's, and waits for another at the end: before those that would
        begin, since it has locked what others may wait for. At a close it waits no longer.
        """
        self.end(owner)
        try:
            yield
        finally:
            self.ask(owner, first=True).result()

    def close(self) -> None:
        """Those that wait get no turn."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, {}
        for asked in waiting.values():
            for turn in asked:
                turn.set_result(False)

    def ask(self, owner: Owner, *, first: bool = False) -> Future[bool]:
        """A turn that may come later; False where none comes. Each that came has to `end`.

        `first`: before all others of this owner.
        """
        turn: Future[bool] = Future()
        with self._lock:
            if self._closed:
                turn.set_result(False)
            elif self._left > 0 and self._is_within(owner):
                self._left -= 1
                self._taken[owner] += 1
                turn.set_result(True)
            else:
                waiting = self._waiting.setdefault(owner, deque())
                (waiting.appendleft if first else waiting.append)(turn)
        return turn

    def end(self, owner: Owner) -> None:
        """One of this owner's is over, and the next one's begins."""
        with self._lock:
            if self._closed:
                return
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
            able = [one for one in self._waiting if self._is_within(one)]
            if not able:
                self._left += 1
                return
            # Among equals it is the turn of the owner that was served longest ago.
            following = min(able, key=self._taken.__getitem__)
            asked = self._waiting.pop(following)
            turn = asked.popleft()
            if asked:
                self._waiting[following] = asked
            self._taken[following] += 1
        turn.set_result(True)

    def _is_within(self, owner: Owner) -> bool:
        """Whether another one would be no more than it may have."""
        return owner is None or self._taken[owner] < self._of_a_key
