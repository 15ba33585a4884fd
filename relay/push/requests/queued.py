"""The transport of queues: messages of all groups share requests."""

from collections.abc import Callable

from relay.log.data_schemas import DataSchemas
from relay.log.encoding import Unsendable
from relay.log.message import Row
from relay.log.path import OwnPath
from relay.push.http.answer import Answer
from relay.push.sqs.entry import MAX_BYTES, TOO_LARGE, Entries, Entry
from relay.push.sqs.session import MAX_ENTRIES, Session
from relay.push.target import Target

# Two requests.
FEW_MESSAGES = 2 * MAX_ENTRIES


class Queued:
    """See Transport."""

    few = FEW_MESSAGES

    def __init__(
        self,
        session: Session,
        source: str,
        path: OwnPath,
        schemas: DataSchemas,
        target: Target,
        cursor_id: int,
    ) -> None:
        self._session = session
        self._entries = Entries(
            source,
            fifo=session.to.is_fifo,
            # With the cursor: two subscriptions to one queue do not swallow each other's messages,
            # nor one that is made again those of its predecessor.
            unique=f"{target.installation}-{cursor_id}",
            replays=target.replays,
            path=path,
            schemas=schemas,
        )

    def encode(self, row: Row, *, replayed: bool) -> Entry:
        limit = self._session.most_bytes
        try:
            return self._entries.of(row, limit, replayed=replayed)
        except Unsendable as fault:
            if fault.reason == TOO_LARGE and limit < MAX_BYTES:
                self._session.doubt_limit()
            raise

    def send(
        self,
        row: Row,
        encoded: Entry,
        now: float,
        send_before: float,
        answered: Callable[[Answer], None],
    ) -> None:
        self._session.put(encoded, send_before, answered)
