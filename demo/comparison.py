"""What was committed against what arrived: in a topic, or at a subscriber."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

import msgspec


class Published(msgspec.Struct, frozen=True):
    """A committed message of the log."""

    id: int
    channel: str
    group_key: str | None
    idempotency_key: str


class Delivery(msgspec.Struct, frozen=True):
    """What became of one channel's messages at one place.

    `delivered` counts keys, `repeated` what came beyond the first of each; `out_of_order` first
    arrivals that a later message of their group had overtaken; `uncommitted` what was rolled back.
    """

    name: str
    committed: int
    delivered: int
    repeated: int
    lost: int
    out_of_order: int
    uncommitted: int

    @property
    def right(self) -> bool:
        return not (self.lost or self.out_of_order or self.uncommitted)


class Promise(msgspec.Struct, frozen=True):
    """One thing that must be so."""

    what: str
    expected: int | Decimal
    actual: int | Decimal

    @property
    def right(self) -> bool:
        return self.expected == self.actual


def compare(name: str, log: Iterable[Published], arrivals: Iterable[str]) -> Delivery:
    """One channel's messages against the idempotency keys that arrived, in their order.

    Ids order a group's messages: each was drawn while the writer held the order's row.
    """
    published = {message.idempotency_key: message for message in log}
    seen: set[str] = set()
    furthest: defaultdict[str | None, int] = defaultdict(int)
    repeated = out_of_order = uncommitted = 0
    for key in arrivals:
        message = published.get(key)
        if message is None:
            uncommitted += 1
        elif key in seen:
            repeated += 1
        else:
            seen.add(key)
            out_of_order += message.id < furthest[message.group_key]
            furthest[message.group_key] = max(furthest[message.group_key], message.id)
    return Delivery(
        name=name,
        committed=len(published),
        delivered=len(seen),
        repeated=repeated,
        lost=len(published) - len(seen),
        out_of_order=out_of_order,
        uncommitted=uncommitted,
    )
