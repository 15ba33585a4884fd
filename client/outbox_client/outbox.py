"""The client: all operations of the API with one key."""

from types import TracebackType
from typing import Generic, Self

from outbox_client.attempts import Attempts
from outbox_client.audit import Audit
from outbox_client.connectors import Connectors
from outbox_client.dead_letters import DeadLetters
from outbox_client.deliveries import Deliveries
from outbox_client.event_types import EventTypes
from outbox_client.inward_dead_letters import InwardDeadLetters
from outbox_client.messages import Messages
from outbox_client.operation import Via
from outbox_client.overview import Overviews
from outbox_client.stats import AllStats
from outbox_client.subscriptions import Subscriptions
from outbox_client.transport import AsyncTransport, Transport

TIMEOUT_SECONDS = 15.0
RETRY_SECONDS = 60.0


class Resources(Generic[Via]):
    """The nouns of the API, by way of one transport."""

    def __init__(self, transport: Via) -> None:
        self._transport: Via = transport
        self.messages: Messages[Via] = Messages(transport)
        self.subscriptions: Subscriptions[Via] = Subscriptions(transport)
        self.connectors: Connectors[Via] = Connectors(transport)
        self.deliveries: Deliveries[Via] = Deliveries(transport)
        self.attempts: Attempts[Via] = Attempts(transport)
        self.dead_letters: DeadLetters[Via] = DeadLetters(transport)
        self.inward_dead_letters: InwardDeadLetters[Via] = InwardDeadLetters(transport)
        self.event_types: EventTypes[Via] = EventTypes(transport)
        self.stats: AllStats[Via] = AllStats(transport)
        self.overview: Overviews[Via] = Overviews(transport)
        self.audit: Audit[Via] = Audit(transport)


class Outbox(Resources[Transport]):
    """The client for threads, which may share one; a context manager.

    `url` is the service's, `key` an API key. One attempt may take `timeout_seconds`. A request that
    may be sent again is, until `retry_seconds` have passed since its first attempt.

    Every call may raise OutboxError: Problem where the service refuses it, Unanswered where no
    answer comes. Raises ValueError for a URL or a key that is none.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__(Transport(url, key, timeout_seconds, retry_seconds))

    def close(self) -> None:
        """Closes its connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncOutbox(Resources[AsyncTransport]):
    """The same for asyncio: each method is a coroutine, each list is for `async for`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        super().__init__(AsyncTransport(url, key, timeout_seconds, retry_seconds))

    async def close(self) -> None:
        """Closes its connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
