"""Which owner's run is next: so many at once hold a connection to the database."""

import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

# An API key that is limited to channels, by its name; None: the operator.
Owner = str | None


class Turns:
    """`most` at once. Of the owners that wait, the one that has the fewest is next.

    Every run that waits is served in the end: an owner's subscriptions have their turns one after
    the other. Safe from every thread.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._left = most
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

    def close(self) -> None:
        """Those that wait get no turn."""
        with self._lock:
            self._closed = True
            waiting, self._waiting = self._waiting, {}
        for asked in waiting.values():
            for turn in asked:
                turn.set_result(False)

    def ask(self, owner: Owner) -> Future[bool]:
        """A turn that may come later; False where none comes. Each that came has to `end`."""
        turn: Future[bool] = Future()
        with self._lock:
            if self._closed:
                turn.set_result(False)
            elif self._left > 0:
                self._left -= 1
                self._taken[owner] += 1
                turn.set_result(True)
            else:
                self._waiting.setdefault(owner, deque()).append(turn)
        return turn

    def end(self, owner: Owner) -> None:
        """One of this owner's is over, and the next one's begins."""
        with self._lock:
            self._taken[owner] -= 1
            if not self._taken[owner]:
                del self._taken[owner]
            if not self._waiting:
                self._left += 1
                return
            # Among equals it is the turn of the owner that was served longest ago.
            following = min(self._waiting, key=self._taken.__getitem__)
            asked = self._waiting.pop(following)
            turn = asked.popleft()
            if asked:
                self._waiting[following] = asked
            self._taken[following] += 1
        turn.set_result(True)
