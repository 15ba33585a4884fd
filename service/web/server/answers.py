"""The answers of this process that their clients have not taken yet: how much of them is held."""

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_HELD_BYTES = 64 * 1024 * 1024
# So much of each is not counted: a crowd of slow clients must not cost a payment its answer. There
# are no more answers than there are connections.
SMALL_BYTES = 16 * 1024
# Where the state of a request has how large its answer is.
SIZE = "answer_bytes"

# The name of the key that a request has shown; None: all those without one.
Sender = str | None


class Connection(Protocol):
    """What an answer goes to its client by."""

    @property
    def unsent_bytes(self) -> int:
        """What was written for its client and is still here."""

    def drop_answer(self) -> None:
        """Ends the connection, with what is left of its answer."""


@dataclass
class Held:
    """What of one answer counts, and who asked for it."""

    sender: Sender
    bytes: int


class Answers:
    """Those that are held, the oldest first.

    A hundred bytes may ask for some megabytes, and a client that takes a little of them now and
    then is none that stands still. So it is with answers as with bodies: no sender holds more than
    is free, one alone half of all there is, two a third each, and always there is room for the
    next. Where one holds too much, the oldest of its answers goes first.
    """

    def __init__(self, max_bytes: int = MAX_HELD_BYTES) -> None:
        self._free_bytes = max_bytes
        self._held: dict[Connection, Held] = {}
        self._of_sender: Counter[Sender] = Counter()

    def written(self, connection: Connection, sender: Sender, size: int) -> None:
        """An answer of this size was written. It is here until its last byte is gone."""
        self.release(connection)
        if size <= SMALL_BYTES or not connection.unsent_bytes:
            return
        self._held[connection] = Held(sender, size - SMALL_BYTES)
        self._count(sender, size - SMALL_BYTES)
        if self._holds_too_much(sender):
            # Most are with their clients by now.
            self.measure()
        while self._holds_too_much(sender):
            oldest = next(one for one, held in self._held.items() if held.sender == sender)
            self.release(oldest)
            oldest.drop_answer()

    def measure(self) -> None:
        """Forgets those that their clients have taken meanwhile."""
        for connection in list(self._held):
            if not connection.unsent_bytes:
                self.release(connection)

    def release(self, connection: Connection) -> None:
        """It holds no answer any more."""
        if (held := self._held.pop(connection, None)) is not None:
            self._count(held.sender, -held.bytes)

    def _holds_too_much(self, sender: Sender) -> bool:
        return self._of_sender[sender] > max(0, self._free_bytes)

    def _count(self, sender: Sender, change_bytes: int) -> None:
        self._free_bytes -= change_bytes
        self._of_sender[sender] += change_bytes
        if not self._of_sender[sender]:
            del self._of_sender[sender]


class Measured:
    """ASGI middleware: notes in the state of a request how large its answer is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def watch(message: Message) -> None:
            state[SIZE] = state.get(SIZE, 0) + len(message.get("body", b""))
            await send(message)

        await self._app(scope, receive, watch)
