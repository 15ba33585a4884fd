"""Which request gets the next connection to the database, where too few are free."""

import asyncio
from collections import Counter
from contextvars import ContextVar

# The name under which the request under way asks: an address, a key, or a part of the service.
# Requests of one name have their turns one after the other, and don't keep other names waiting.
asks_for: ContextVar[str] = ContextVar("asks_for", default="the service")


class CrowdedError(Exception):
    """A turn will not come: there is no room for all that wait for one."""


class Turns:
    """`limit` turns at once, of which the last `kept` are for names that have none.

    So a name that asks for many turns, and holds them for long, leaves some to the others. Of the
    names that wait, the one with the fewest turns is next. Used on one event loop.
    """

    def __init__(self, limit: int, kept: int) -> None:
        self._left = limit
        self._kept = kept
        self._taken: Counter[str] = Counter()
        # By name; those of one name in the order in which they came.
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    @property
    def waiting(self) -> int:
        """How many turns are waited for."""
        return sum(map(len, self._waiting.values()))

    async def take(self, name: str) -> None:
        """Waits for a turn, however long that takes. The caller has to `end` it.

        Raises CrowdedError where it was refused instead.
        """
        if self._is_free(name):
            self._grant(name)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, {})[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(name, turn)
            elif turn.exception() is None:
                # It came in the same moment.
                self.end(name)
            raise

    def end(self, name: str) -> None:
        """Ends a turn of this name, and grants the next one."""
        self._left += 1
        self._taken[name] -= 1
        if not self._taken[name]:
            del self._taken[name]
        while self._waiting:
            # Among equals the first: a name that is served goes to the end of the waiting ones.
            following = min(self._waiting, key=self._taken.__getitem__)
            if not self._is_free(following):
                return
            asked = self._waiting.pop(following)
            turn = next(iter(asked))
            del asked[turn]
            if asked:
                self._waiting[following] = asked
            # One that was given up may not have got to forgetting it yet.
            if not turn.done():
                self._grant(following)
                turn.set_result(None)

    @property
    def crowd(self) -> int:
        """How many wait of the name of which most do."""
        return max(map(len, self._waiting.values()), default=0)

    def refuse_one(self) -> bool:
        """Ends the longest wait of the name of which most wait; False where none waits."""
        for name in sorted(self._waiting, key=lambda one: -len(self._waiting[one])):
            for turn in self._waiting[name]:
                # One that was given up may not have got to forgetting it yet.
                if not turn.done():
                    self._forget(name, turn)
                    turn.set_exception(CrowdedError)
                    return True
        return False

    def _is_free(self, name: str) -> bool:
        return self._left > (self._kept if self._taken[name] else 0)

    def _grant(self, name: str) -> None:
        self._left -= 1
        self._taken[name] += 1

    def _forget(self, name: str, turn: asyncio.Future[None]) -> None:
        if asked := self._waiting.get(name):
            asked.pop(turn, None)
            if not asked:
                del self._waiting[name]
