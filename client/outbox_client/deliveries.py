"""Deliveries: what is neither in the log any more nor delivered."""

from datetime import datetime
from typing import Literal

from outbox_client.operation import Resource, Via, listing
from outbox_client.pages import Page
from outbox_client.shape import Shape

State = Literal["untried", "retrying", "inFlight", "behind", "parked"]


class Delivery(Shape, frozen=True, kw_only=True):
    """One message on its way to one subscription; `detail` is for keys that may manage.

    `untried`: its first attempt is at `due_at`. `retrying`: its next one is. `inFlight`: a request
    is under way, or has just ended. `behind`: waits for those before it in its group. `parked`:
    given up, and its group waits.
    """

    subscription_id: str
    message_id: str
    group_key: str | None
    state: State
    attempts: int
    due_at: datetime | None
    reason: str | None
    detail: str | None
    replayed: bool
    dead_letter_id: str | None


class Deliveries(Resource[Via]):
    """It needs the scope `read`."""

    @listing("/v1/deliveries")
    def list(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
        subscription_id: str | None = None,
        state: State | None = None,
    ) -> Page[Delivery]:
        """Those that wait for an attempt, in flight, behind one of their group, or parked."""
