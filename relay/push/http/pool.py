"""Connections between requests: which is used again, how many may be open, what waits."""

import asyncio
import time
from collections import deque

from relay.push.fair_turns import Owner
from relay.push.http.connection import Connection
from relay.push.http.deadlines import Deadlines
from relay.push.http.dial import Dialler
from relay.push.http.fault import NoConnectionError
from relay.push.http.openings import Openings
from relay.push.http.url import Url

# Below the 5 s that the commonest servers keep an idle connection.
KEEP_ALIVE_SECONDS = 4.0
# An older connection is not used again, so that a name that has moved is followed under traffic.
MAX_AGE_SECONDS = 30.0
# A server may close each connection after its answer, or a moment later, without saying so; a
# request that crosses with that is a failed attempt. So of one whose connections were never seen
# to stay, only those are used again that have stayed open for so long.
TRIAL_SECONDS = 0.2
MAX_ON_TRIAL = 256
SWEEP_SECONDS = 1.0
# An endpoint that got no request for so long is forgotten, with what was learned of it.
FORGET_SECONDS = 300.0


class Endpoint:
    """The connections of one URL, and what they taught.

    Of its own, though others may lead to the same host: they may be other people's there.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.resting: deque[Connection] = deque()
        self.open = 0
        # And of those, the ones that are being dialled.
        self.dialled = 0
        self.used_at = 0.0
        self.waiting: deque[asyncio.Future[None]] = deque()
        # Whether connections were seen to stay; and after half of which rest one was seen to end.
        self.stays = False
        self.rest_seconds = KEEP_ALIVE_SECONDS

    def stayed(self, seconds: float) -> None:
        """A connection is open after so long a rest."""
        if seconds >= TRIAL_SECONDS:
            self.stays = True
        if seconds > 2 * self.rest_seconds:
            self.rest_seconds = seconds / 2

    def ended(self, seconds: float) -> None:
        """The server has closed one after so long a rest."""
        if seconds < TRIAL_SECONDS:
            self.stays = False
        self.rest_seconds = min(self.rest_seconds, seconds / 2)


class Pool:
    """All connections of one client; used on one event loop.

    `most` are open at once. An endpoint that hangs takes half of those that are left at most, so
    that something is left for the next; one that has none gets the first that is left.
    """

    def __init__(self, dialler: Dialler, most: int) -> None:
        self.deadlines = Deadlines()
        self._loop = asyncio.get_running_loop()
        self._dialler = dialler
        self._most = most
        self._openings = Openings(self._opened)
        self._endpoints: dict[str, Endpoint] = {}
        self._of: dict[Connection, Endpoint] = {}
        # The longest at rest first.
        self._resting: dict[Connection, None] = {}
        self._waiting: dict[Endpoint, None] = {}
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def is_awaited(self, url: Url) -> bool:
        """Whether somebody waits for a connection that it could use; who comes now comes behind."""
        return bool(self._waiting) or self._openings.are_awaited(url.text)

    def take(self, url: Url) -> Connection | None:
        """One that likely stays open, or all that can be had; None: `open` makes one."""
        endpoint = self._endpoint(url)
        now = endpoint.used_at = time.monotonic()
        while endpoint.resting:
            # Of an endpoint whose connections stay, the latest, so that the others may be closed.
            connection = endpoint.resting[-1 if endpoint.stays else 0]
            rest_seconds = now - connection.rests_since
            if not connection.check_open():
                endpoint.ended(rest_seconds)
                self._retire(connection)
                continue
            endpoint.stayed(rest_seconds)
            if not endpoint.stays or rest_seconds > endpoint.rest_seconds:
                return self._take_unsure(endpoint)
            if now - connection.opened_at < MAX_AGE_SECONDS:
                self._forget_rest(connection, endpoint)
                return connection
            self._retire(connection)
        return None

    def _take_unsure(self, endpoint: Endpoint) -> Connection | None:
        """One that may be closed at any moment, where no other can be had.

        The one that has rested for longest rests on: however many requests there are, it will tell
        whether connections stay.
        """
        while endpoint.resting and not self._has_room(endpoint):
            connection = endpoint.resting[min(1, len(endpoint.resting) - 1)]
            self._take(connection)
            if connection.check_open():
                return connection
            connection.abort()
        return None

    async def open(self, url: Url, owner: Owner, deadline: float) -> Connection:
        """A new one for a subscription of `owner`, by `deadline` of the loop's clock.

        Or one that rests, behind those of this endpoint that wait. Raises Fault, and TimeoutError.
        """
        if not self._openings.are_awaited(url.text) and (rested := self.take(url)):
            return rested
        async with asyncio.timeout_at(deadline):
            while not await self._openings.begin(url.text, owner):
                if rested := self.take(url):
                    return rested
        try:
            return self.take(url) or await self._open(url, owner, deadline)
        finally:
            self._openings.end(url.text, owner)

    async def _open(self, url: Url, owner: Owner, deadline: float) -> Connection:
        endpoint = self._endpoint(url)
        while not self._has_room(endpoint):
            if unsure := self._take_unsure(endpoint):
                return unsure
            await self._turn(endpoint, deadline)
        connection = Connection(self)
        self._of[connection] = endpoint
        endpoint.open += 1
        endpoint.dialled += 1
        if len(self._of) > self._most:
            self._retire(next(iter(self._resting)))
        try:
            async with asyncio.timeout_at(deadline):
                seconds = deadline - time.monotonic()
                await self._dialler.dial(url.origin, owner, connection, seconds)
        except BaseException as over:
            connection.abort()
            self.lost(connection)
            late = isinstance(over, TimeoutError)
            if late and self._dialler.waits_for_others(url.origin, owner, connection):
                raise NoConnectionError("the handshakes of others took too long") from None
            raise
        finally:
            endpoint.dialled -= 1
        return connection

    def rest(self, connection: Connection) -> None:
        """Its answer is complete, and it can take another request."""
        endpoint = self._of.get(connection)
        if endpoint is None or connection in self._resting:
            return
        endpoint.resting.append(connection)
        self._resting[connection] = None
        self._openings.rests(endpoint.url)
        if self._waiting:
            self._call_waiting()

    def lost(self, connection: Connection) -> None:
        """It is closed, or was never opened."""
        endpoint = self._of.pop(connection, None)
        if endpoint is None:
            return
        endpoint.open -= 1
        if connection in self._resting:
            endpoint.ended(time.monotonic() - connection.rests_since)
            self._forget_rest(connection, endpoint)
        elif connection.broke_off and connection.requests > 1:
            endpoint.stays = False
        self._call_waiting()

    def close(self) -> None:
        """Closes every connection; requests that are under way get no answer."""
        self._sweeping.cancel()
        self.deadlines.close()
        for connection in list(self._of):
            connection.forget()

    def _endpoint(self, url: Url) -> Endpoint:
        endpoint = self._endpoints.get(url.text)
        if endpoint is None:
            endpoint = self._endpoints[url.text] = Endpoint(url.text)
        return endpoint

    def _opened(self, url: str) -> int:
        endpoint = self._endpoints.get(url)
        return endpoint.open - endpoint.dialled if endpoint else 0

    def _take(self, connection: Connection) -> None:
        self._forget_rest(connection, self._of[connection])

    def _retire(self, connection: Connection) -> None:
        self._take(connection)
        connection.abort()
        # It is closed in the loop's next turn; its place may be taken now.
        self.lost(connection)

    def _forget_rest(self, connection: Connection, endpoint: Endpoint) -> None:
        resting = endpoint.resting
        if resting[-1] is connection:
            resting.pop()
        else:
            resting.remove(connection)
        del self._resting[connection]

    def _has_room(self, endpoint: Endpoint) -> bool:
        left = self._most - (len(self._of) - len(self._resting))
        in_use = endpoint.open - len(endpoint.resting)
        return left > 0 and in_use < max(left // 2, 1) and len(endpoint.resting) < MAX_ON_TRIAL

    async def _turn(self, endpoint: Endpoint, deadline: float) -> None:
        """Waits until a connection has been closed or has come to rest."""
        turn: asyncio.Future[None] = self._loop.create_future()
        endpoint.waiting.append(turn)
        self._waiting[endpoint] = None
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except (TimeoutError, asyncio.CancelledError) as over:
            # It may have been called in the same moment: the call is another's then.
            self._call_waiting()
            if isinstance(over, TimeoutError):
                why = f"{len(self._of)} are open, and {self._most} may be"
                raise NoConnectionError(why) from None
            raise
        finally:
            endpoint.waiting.remove(turn)
            if not endpoint.waiting:
                self._waiting.pop(endpoint, None)

    def _call_waiting(self) -> None:
        """The first of each endpoint looks again: whose turn it is depends on what each has."""
        for endpoint in self._waiting:
            turn = next((turn for turn in endpoint.waiting if not turn.done()), None)
            if turn is not None:
                turn.set_result(None)

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(SWEEP_SECONDS, self._sweep)
        now = time.monotonic()
        for connection in list(self._resting):
            rest_seconds = now - connection.rests_since
            old = now - connection.opened_at >= MAX_AGE_SECONDS
            if rest_seconds >= KEEP_ALIVE_SECONDS or old or not connection.check_open():
                self._retire(connection)
            else:
                endpoint = self._of[connection]
                endpoint.stayed(rest_seconds)
                # On trial it was for nobody, and who waits may have been told of it in vain.
                self._openings.rests(endpoint.url)
        for text, endpoint in list(self._endpoints.items()):
            if not endpoint.open and now - endpoint.used_at > FORGET_SECONDS:
                del self._endpoints[text]
