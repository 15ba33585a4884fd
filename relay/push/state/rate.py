"""A subscription's rate limit: what all relays together may send, taken in advance by each."""

import time

from relay.database import Connection, transaction
from relay.push.policy.settings import Receiver

# A grant that was not used by then is lost, as in the database.
GRANT_SECONDS = 1.0
ANY = 1 << 30

TAKE = "select outbox.take_rate(%s)"


class Rate:
    """Taken in a transaction of its own before a run, so that no relay waits for another's run."""

    def __init__(self) -> None:
        self._per_second: float | None = None
        self._granted = 0
        self._until = 0.0

    def update(self, endpoint: Receiver) -> bool:
        """Takes over the endpoint's limit; whether it is another than the last grant's."""
        news = endpoint.rate_per_second != self._per_second
        self._per_second = endpoint.rate_per_second
        return news

    def grant(self, connection: Connection, subscription_id: int) -> int:
        """How many requests may be made now."""
        if self._per_second is None:
            return ANY
        if self._granted == 0 or time.monotonic() > self._until:
            with connection.pipeline(), transaction(connection):
                taken = connection.execute(TAKE, (subscription_id,))
            row = taken.fetchone()
            granted = row[0] if row else 0
            if granted is None:
                # The limit was lifted; the run will see it.
                return ANY
            self._granted = granted
            self._until = time.monotonic() + max(GRANT_SECONDS, 1 / self._per_second)
        return self._granted

    def used(self, requests: int) -> None:
        """So many of the grant were."""
        self._granted = max(self._granted - requests, 0)
