"""The transport of endpoints: each message is a signed request."""

from collections.abc import Callable

from relay.log.message import IDEMPOTENCY_KEY, PAYLOAD, Row
from relay.push.fair_turns import Owner
from relay.push.http.answer import Answer
from relay.push.http.client import Client, Destination
from relay.push.http.lines import Lines
from relay.push.policy.settings import Endpoint
from relay.push.requests.headers import Headers
from relay.push.requests.signature import Signer
from relay.push.target import Target

# As many as a run needs to get on; of a quick endpoint these are many a second.
FEW_REQUESTS = 2


class Posts:
    """See Transport."""

    few = FEW_REQUESTS

    def __init__(
        self, client: Client, headers: Headers, endpoint: Endpoint, target: Target, owner: Owner
    ) -> None:
        self.encode = headers.of
        self._client = client
        self._to = Destination(endpoint.endpoint, endpoint.timeout_seconds, owner)
        self._signer = Signer(target.keys)
        self._clock = target.clock

    def send(
        self,
        row: Row,
        encoded: Lines,
        now: float,
        send_before: float,
        answered: Callable[[Answer], None],
    ) -> None:
        stamp = int(self._clock + now)
        signature = self._signer.sign(row[IDEMPOTENCY_KEY], stamp, row[PAYLOAD])
        signed = b"%bwebhook-timestamp: %d\r\nwebhook-signature: %b\r\n" % (
            encoded,
            stamp,
            signature,
        )
        self._client.send(self._to, Lines(signed), row[PAYLOAD], send_before, answered)
