"""Where a run's requests go."""

import msgspec

from relay.keyring import Keys
from relay.push.fair_turns import Owner
from relay.push.policy.settings import Receiver


class Target(msgspec.Struct, frozen=True):
    """Where a run's requests go.

    `clock` plus time.monotonic() is the database's, in seconds since 1970. `most` requests may be
    made. `failing`: nothing has succeeded since a failure; `retrying`: some messages wait for
    another attempt; `has_heads`: of some group one will be due some time. `owner` made it.
    What is no endpoint knows messages by `installation`, and replays of the cursor by `replays`.
    """

    subscription_id: int
    subscription: str
    endpoint: Receiver
    keys: Keys
    clock: float
    most: int
    failing: bool = False
    retrying: bool = False
    has_heads: bool = False
    probe_token: int | None = None
    owner: Owner = None
    installation: str | None = None
    replays: int = 0

    @property
    def probing(self) -> bool:
        """The breaker is half-open: one message goes."""
        return self.probe_token is not None
