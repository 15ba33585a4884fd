"""The shards of a subscription share its messages: a group stays whole, and the rest is spread."""

from collections import Counter, defaultdict

import pytest
from psycopg import errors

from tests.relay.conftest import OpenRelay
from tests.relay.recording import Arrival, Relay
from tests.sql.log import Session, publish

SHARDS = 4
PUBLISH_ALONE = "select outbox.publish('orders', 'event', '{}')"


@pytest.fixture
def sharded(db: Session, relay: Relay) -> Relay:
    """One relay on a subscription of four shards."""
    db.execute("delete from outbox.subscription")
    db.execute("insert into outbox.subscription (name, shards) values ('wide', %s)", [SHARDS])
    return relay


def by_shard(relay: Relay) -> dict[int, list[Arrival]]:
    """What each shard's cursor delivers."""
    arrivals: dict[int, list[Arrival]] = defaultdict(list)
    for cursor in relay.probe():
        before = len(relay.sink.arrivals)
        relay.run(cursor)
        arrivals[cursor.shard] += relay.sink.arrivals[before:]
    return arrivals


def test_a_group_stays_on_one_shard_in_its_order(db: Session, sharded: Relay) -> None:
    written = [(publish(db, f"g{n % 40}"), f"g{n % 40}") for n in range(200)]
    shards = by_shard(sharded)
    assert len(shards) == SHARDS
    homes: dict[str | None, set[int]] = defaultdict(set)
    for shard, arrivals in shards.items():
        for arrived in arrivals:
            homes[arrived.group_key].add(shard)
    assert len(homes) == 40
    assert all(len(home) == 1 for home in homes.values())
    for group in homes:
        ids = [one.id for one in sharded.sink.arrivals if one.group_key == group]
        assert ids == [message_id for message_id, key in written if key == group]


def test_messages_without_a_group_are_spread_over_the_shards(db: Session, sharded: Relay) -> None:
    for _ in range(200):
        db.execute(PUBLISH_ALONE)
    sizes = Counter({shard: len(arrivals) for shard, arrivals in by_shard(sharded).items()})
    assert sizes.total() == 200
    assert min(sizes.values()) >= 25


def test_a_shard_that_is_held_holds_up_no_other(
    db: Session, sharded: Relay, open_relay: OpenRelay
) -> None:
    for n in range(40):
        publish(db, f"g{n}")
    held = sharded.probe()[0]
    others = open_relay()

    def work_beside() -> None:
        others.drain()

    sharded.sink.delivered = work_beside
    sharded.run(held)
    assert others.sink.runs
    assert len(others.sink.ids) + len(sharded.sink.ids) == 40
    assert not set(others.sink.ids) & set(sharded.sink.ids)


def test_the_number_of_shards_is_fixed(db: Session, sharded: Relay) -> None:
    with pytest.raises(errors.CheckViolation, match="fixed at creation"):
        db.execute("update outbox.subscription set shards = 2")
