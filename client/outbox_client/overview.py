"""The overview: relays, the log, who holds it back, and what needs an operator."""

from datetime import datetime
from typing import Literal

from outbox_client.operation import Resource, Via, operation
from outbox_client.shape import Shape


class ConnectedRelay(Shape, frozen=True, kw_only=True):
    """A relay, since when it is connected, by how many sessions, and how many are in a run."""

    name: str
    since: datetime | None
    sessions: int
    runs: int


class Holder(Shape, frozen=True, kw_only=True):
    """Who holds vacuum back, since when, and by how many transactions."""

    kind: str
    name: str
    application: str | None
    held_since: datetime | None
    transactions: int | None


class Partition(Shape, frozen=True, kw_only=True):
    """A part of the log: what was written between these times; `bytes` with its indexes.

    `from_` is None of one that is made ahead, `upto` of one that is still written to.
    """

    name: str
    from_: datetime | None
    upto: datetime | None
    estimated_rows: int | None
    bytes: int


class Maintenance(Shape, frozen=True, kw_only=True):
    """When which relay last looked after the log, and what went wrong since."""

    done_at: datetime
    age_seconds: float
    relay: str
    fault: str | None


class Fleet(Shape, frozen=True, kw_only=True):
    """What is nobody's channel. `fault`: why no relay runs on this database."""

    published_per_second: float
    relays: list[ConnectedRelay]
    horizon: list[Holder]
    partitions: list[Partition]
    maintenance: Maintenance
    fault: str | None


class Finding(Shape, frozen=True, kw_only=True):
    """`fault`: relays can't do their work; `warning`: they can, but an operator should look.

    `hint` is what to do about it; `subscription_id` the subscription or connector it is about.
    """

    level: Literal["warning", "fault"]
    what: str
    text: str
    hint: str
    subscription_id: str | None = None


class Overview(Shape, frozen=True, kw_only=True):
    """`fleet` is None for keys that are limited to channels; `findings` has the faults first."""

    fleet: Fleet | None
    findings: list[Finding]


class Overviews(Resource[Via]):
    """It needs the scope `read`."""

    @operation("GET", "/v1/overview")
    def read(self) -> Overview:
        """How all of it does, and what an operator should see to."""
