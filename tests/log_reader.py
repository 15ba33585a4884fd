"""What committed, read from the log itself, and the reckoning of a topic against it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import psycopg

from tests.topic_reader import Arrival, by_key, first_arrivals

WRITTEN = """
select id, channel, priority, convert_to(group_key, 'UTF8'), idempotency_key, payload
from outbox.message
where channel = %s
order by id
"""


class Written(NamedTuple):
    """A committed message.

    `id` is the order of writing inside a group, if its writers lock the group first.
    """

    id: int
    channel: str
    priority: int
    group_key: bytes | None
    idempotency_key: str
    payload: bytes


def read_log(database_url: str, channel: str) -> list[Written]:
    """Every committed message of a channel, by id."""
    with psycopg.connect(database_url) as connection:
        return [Written(*row) for row in connection.execute(WRITTEN, [channel]).fetchall()]


class Reckoning(NamedTuple):
    """What a topic owes to the log; all but `repeats` has to be empty.

    `lost`: idempotency keys that never arrived; `strange`: what arrived altered, or with a key that
    no transaction committed; `inverted`: (earlier, later) ids of one group that first arrived the
    other way round.
    """

    lost: list[str]
    strange: list[str]
    inverted: list[tuple[int, int]]
    repeats: int

    def demand_all_in_order(self) -> None:
        """Raises AssertionError where something is lost, strange or inverted."""
        figures = (
            f"{len(self.lost)} lost, {len(self.strange)} strange, {len(self.inverted)} inverted"
        )
        owed = [*self.lost, *self.strange, *self.inverted]
        assert not owed, f"{figures}: {owed[:10]}"


def reckon(written: Sequence[Written], arrivals: Sequence[Arrival]) -> Reckoning:
    """Holds what arrived in the topic of one channel against what its writers committed."""
    by_identity = {message.idempotency_key: message for message in written}
    lost = by_identity.keys() - {arrival.idempotency_key for arrival in arrivals}
    strange = [
        arrival.idempotency_key
        for arrival in arrivals
        if not _same(by_identity.get(arrival.idempotency_key), arrival)
    ]
    first = [arrival for arrival in first_arrivals(arrivals) if arrival.key is not None]
    known = [arrival for arrival in first if arrival.idempotency_key in by_identity]
    inverted = [
        pair
        for group in by_key(known).values()
        for pair in _inversions(by_identity[arrival.idempotency_key] for arrival in group)
    ]
    return Reckoning(sorted(lost), strange, inverted, len(arrivals) - len(first_arrivals(arrivals)))


def _same(message: Written | None, arrival: Arrival) -> bool:
    return message is not None and (message.group_key, message.payload) == arrival[3:5]


def _inversions(group: Iterable[Written]) -> list[tuple[int, int]]:
    """Pairs of one priority that arrived the wrong way round; priorities may overtake."""
    highest: dict[int, int] = {}
    inverted = []
    for message in group:
        before = highest.get(message.priority, 0)
        if message.id < before:
            inverted.append((message.id, before))
        highest[message.priority] = max(before, message.id)
    return inverted
