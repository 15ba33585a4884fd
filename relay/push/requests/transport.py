"""How messages leave: the seam between a run and what takes them."""

from collections.abc import Callable
from typing import Any, Protocol

from relay.log.message import Row
from relay.push.http.answer import Answer


class Transport(Protocol):
    """Of one cursor in one run; used on the request loop.

    It takes one message after the other, and gives back an answer for each. What it puts together
    to one request is its own to say.
    """

    @property
    def few(self) -> int:
        """So many messages may be in flight though others need the loop more."""

    def encode(self, row: Row, *, replayed: bool) -> Any:
        """What stays the same on every attempt. Raises NotEncodable, for ever."""

    def send(
        self,
        row: Row,
        encoded: Any,
        now: float,
        send_before: float,
        answered: Callable[[Answer], None],
    ) -> None:
        """Sends it; `answered` is called later, on the loop and not within this call.

        `now` and `send_before`, from which on nothing is sent, are of time.monotonic().
        """
