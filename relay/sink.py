"""What a sink is to a run: a stream of messages in, an outcome back."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

# One message as it stands in the log: (id, channel, type, group_key, idempotency_key, headers,
# content_type, payload, created_at). Text comes as the bytes of its UTF-8, since that is what a
# sink sends. `headers` is a JSON object of strings or None. `created_at` is microseconds since
# 2000-01-01 UTC, as Postgres counts.
Row = tuple[int, bytes, bytes, bytes | None, bytes, bytes | None, bytes, bytes, int]

POSTGRES_EPOCH_SECONDS = 946_684_800


class Dead(msgspec.Struct, frozen=True):
    """A message that can never be delivered: the broker's name for it, and its words."""

    message_id: int
    reason: str
    detail: str


class Blocked(msgspec.Struct, frozen=True):
    """A channel that takes nothing, for `seconds` by now; `lasting`: longer than its grace time."""

    channel: str
    reason: str
    seconds: float
    lasting: bool


class Stopped(msgspec.Struct, frozen=True):
    """The first message whose channel is blocked; neither it nor a later one went."""

    message_id: int
    blocked: Blocked


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run: every message before `stopped` is acknowledged or in `dead`.

    `created_at` holds when each acknowledged message was written, in the log's order: as in Row.
    """

    messages: int
    bytes: int
    created_at: list[int]
    dead: list[Dead]
    stopped: Stopped | None = None


class SinkAway(Exception):
    """The receiving system can't be reached, or refuses everybody.

    No message is to blame, and nothing that was in flight is still on its way.
    """


class Sink(Protocol):
    """Where the messages of one subscription go. Used by one thread at a time."""

    def open(self) -> None:
        """Returns once the receiving system answers; raises SinkAway where it does not."""

    def blocked(self, channel: str) -> Blocked | None:
        """What keeps a channel from taking messages now, or None. Raises SinkAway."""

    def deliver(self, rows: Iterable[Row]) -> Outcome:
        """Sends the rows in their order and returns when each has its outcome.

        May stop reading early. Raises SinkAway when the run has to be given up as a whole.
        """

    def close(self) -> None:
        """Drops what is still in flight, within a second."""
