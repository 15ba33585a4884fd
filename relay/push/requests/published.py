"""The transport of topics: a group's message has a request of its own, or all share requests."""

from collections.abc import Callable

from relay.log.data_schemas import DataSchemas
from relay.log.message import Row
from relay.log.path import OwnPath
from relay.push.http.answer import Answer
from relay.push.pubsub.message import Message, Messages
from relay.push.pubsub.session import MAX_MESSAGES, Session

FEW_REQUESTS = 2


class Published:
    """See Transport."""

    def __init__(self, session: Session, source: str, path: OwnPath, schemas: DataSchemas) -> None:
        ordering = session.to.ordering
        self.few = FEW_REQUESTS if ordering else FEW_REQUESTS * MAX_MESSAGES
        self.encode = Messages(source, ordering=ordering, path=path, schemas=schemas).of
        self._session = session

    def send(
        self,
        row: Row,
        encoded: Message,
        now: float,
        send_before: float,
        answered: Callable[[Answer], None],
    ) -> None:
        self._session.put(encoded, send_before, answered)
