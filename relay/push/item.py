"""One message on its way to one endpoint."""

import msgspec

from relay.log.message import (
    BLOCKED,
    CONTENT_TYPE,
    CREATED_AT,
    GROUP_KEY,
    HEADERS,
    ID,
    MARKS,
    PAYLOAD,
    REPLAYED,
    Row,
)
from relay.push.http.answer import Answer
from relay.push.policy.verdict import Verdict, is_refusal


class Item(msgspec.Struct, eq=False, kw_only=True):
    """A message of the log (`fresh`), or one that has a row in outbox.delivery already.

    `row` is None where only the row is left: its message is gone from the log. `outcome`, `reason`
    and `detail` are what the row says of the last attempt. After the request `answer` and `verdict`
    are there; `token` where it outlives its run.
    """

    message_id: int
    row: Row | None
    group_key: bytes | None
    payload_bytes: int
    # Of payload and headers, for as long as its request is open.
    held_bytes: int
    fresh: bool = True
    attempts: int = 0
    replayed: bool = False
    dead_letter_id: int | None = None
    outcome: str | None = None
    reason: str | None = None
    detail: str | None = None
    token: int | None = None
    sent_at: float = 0.0
    answer: Answer | None = None
    verdict: Verdict | None = None

    @property
    def blocked(self) -> bool:
        """Whether a row of its group waits in the database."""
        return self.fresh and self.row is not None and bool(self.row[MARKS] & BLOCKED)

    @property
    def refused(self) -> bool:
        """Whether its request was answered, by a refusal."""
        return self.answer is not None and is_refusal(self.answer)

    def let_go(self) -> None:
        """Of payload and headers: it goes no more, and what is left of its way may be long."""
        if self.row is not None:
            row = self.row
            self.row = (*row[:HEADERS], None, row[CONTENT_TYPE], b"", *row[CREATED_AT:])


def fresh(row: Row) -> Item:
    """A message as it was read from the log."""
    payload_bytes, headers = len(row[PAYLOAD]), row[HEADERS]
    return Item(
        message_id=row[ID],
        row=row,
        group_key=row[GROUP_KEY],
        payload_bytes=payload_bytes,
        held_bytes=payload_bytes if headers is None else payload_bytes + len(headers),
        replayed=bool(row[MARKS] & REPLAYED),
    )
