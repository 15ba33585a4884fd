"""How many connections are opened at once, and which one is next."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from relay.push.fair_turns import Owner

# Of an endpoint as many connections are opened at once as are open already, at least the first and
# at most the second of these. A handshake of TLS costs milliseconds of the loop, and one that takes
# longer than its request may is lost and begun again: were all connections that a hundred new
# endpoints may have opened at once, most of the time would go into handshakes that nobody uses.
FIRST_OPENING, MAX_OPENING = 4, 16
# And of an API key's endpoints, however many it has made; each may always open one, so that those
# which never answer keep no other one waiting.
MAX_OF_A_KEY = 32

# By endpoint. True: one may be opened; False: another has come to rest. Who was called is there
# until it has taken what it was called for, so that nobody takes that before.
Waiting = dict[str, deque[asyncio.Future[bool]]]


class Openings:
    """Used on one event loop. An endpoint is its URL; of several owners it is several.

    Of what its key leaves, an endpoint takes half at most. `opened` tells how many are open.
    """

    def __init__(self, opened: Callable[[str], int]) -> None:
        self._opened = opened
        self._under_way: Counter[tuple[str, Owner]] = Counter()
        self._of_owner: Counter[Owner] = Counter()
        self._waiting: dict[Owner, Waiting] = {}

    def are_awaited(self, url: str) -> bool:
        """Whether any of this endpoint waits to be opened."""
        return any(url in waiting for waiting in self._waiting.values())

    async def begin(self, url: str, owner: Owner) -> bool:
        """Waits until one may be opened. Its caller has to `end` it.

        False: none may, and there is nothing to end; another one of this endpoint has come to rest.
        """
        if self._first(url, owner) is None and self._may_begin(url, owner):
            self._take(url, owner)
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, {}).setdefault(url, deque()).append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # It may have been called in the same moment: the call is the next one's then.
            if not turn.cancelled():
                if turn.result():
                    self.end(url, owner)
                else:
                    self.rests(url)
            raise
        finally:
            self._forget(url, owner, turn)

    def end(self, url: str, owner: Owner) -> None:
        """It is open, or will never be."""
        self._under_way[url, owner] -= 1
        if not self._under_way[url, owner]:
            del self._under_way[url, owner]
        self._of_owner -= Counter([owner])
        # What one endpoint of the operator's opens takes nothing from another.
        for one in [url] if owner is None else list(self._waiting.get(owner, ())):
            while self._may_begin(one, owner) and self._call(one, owner, True):
                self._take(one, owner)

    def rests(self, url: str) -> None:
        """One of this endpoint's connections does: it is for the first that waits."""
        for owner in self._waiting:
            if self._call(url, owner, False):
                return

    def _may_begin(self, url: str, owner: Owner) -> bool:
        own = self._under_way[url, owner]
        if own >= min(max(self._opened(url), FIRST_OPENING), MAX_OPENING):
            return False
        return not own or owner is None or MAX_OF_A_KEY - self._of_owner[owner] - own >= 2

    def _take(self, url: str, owner: Owner) -> None:
        self._under_way[url, owner] += 1
        self._of_owner[owner] += 1

    def _first(self, url: str, owner: Owner) -> asyncio.Future[bool] | None:
        """The first that waits and was neither called nor given up."""
        turns = self._waiting.get(owner, {}).get(url, ())
        return next((turn for turn in turns if not turn.done()), None)

    def _call(self, url: str, owner: Owner, begins: bool) -> bool:
        """Calls the first that waits; False where none does."""
        turn = self._first(url, owner)
        if turn is None:
            return False
        # By turns: the endpoint comes behind the others.
        self._waiting[owner][url] = self._waiting[owner].pop(url)
        turn.set_result(begins)
        return True

    def _forget(self, url: str, owner: Owner, turn: asyncio.Future[bool]) -> None:
        waiting = self._waiting[owner]
        waiting[url].remove(turn)
        if not waiting[url]:
            del waiting[url]
        if not waiting:
            del self._waiting[owner]
