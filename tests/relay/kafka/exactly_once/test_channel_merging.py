"""Exactly once: a merge asks whether the cursor's last run is in doubt, and never skips one."""

from collections.abc import Iterator

import psycopg
import pytest

from relay.log.run import Ran
from relay.log.sink import SinkAway
from tests.relay.kafka.exactly_once.cluster import Cluster, TransactionalSink
from tests.relay.recording import Relay
from tests.sql.log import Session, one, publish

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

CHANNEL_CURSORS = "select channel from outbox.cursor where channel is not null"
# Whether the channel cursor stands where its origin does, so that the origin's next run merges it.
TOGETHER = """
select count(distinct k.seen::text) = 1 and bool_and(k.target is null)
from outbox.cursor c
join outbox.cursor channel_cursor on channel_cursor.subscription_id = c.subscription_id
    and channel_cursor.priority = c.priority and channel_cursor.channel is not null
cross join lateral (
    select seen, target from outbox.checkpoint where cursor_id = c.id order by n desc limit 1
) k
"""


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def first(database_url: str, db: Session, cluster: Cluster) -> Iterator[Relay]:
    db.execute("update outbox.subscription set delivery = 'exactly_once'")
    with Relay(database_url, TransactionalSink(cluster)) as relay:
        yield relay


def run(relay: Relay, channel: str | None) -> Ran | None:
    """One run of the cursor that has work, the whole one or the channel's."""
    (cursor,) = [found for found in relay.probe() if found.channel == channel]
    return relay.run(cursor)


def test_a_merge_is_a_transaction_of_the_cursor_without_a_message(
    db: Session, cluster: Cluster, first: Relay
) -> None:
    assert isinstance(first.sink, TransactionalSink)
    first.sink.missing = {"parcels"}
    written = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    first.drain()
    first.sink.missing = set()
    first.drain()
    assert db.execute(CHANNEL_CURSORS).fetchall() == []
    transactions = first.sink.transactions
    assert len(transactions.committed) == 3
    assert transactions.committed[0] == transactions.committed[2]
    # The channel cursor's producer is not kept.
    assert transactions.forgotten == [transactions.committed[1]]
    written.append(publish(db, "a", channel="parcels"))
    first.drain()
    assert sorted(found.id for found in cluster.arrivals) == written


def test_a_run_in_doubt_of_another_owner_is_adopted_before_anything_is_merged(
    database_url: str, db: Session, cluster: Cluster, first: Relay
) -> None:
    """A merge that did not ask would contradict it, and what it delivered would come again."""
    assert isinstance(first.sink, TransactionalSink)
    first.sink.missing = {"parcels"}
    written = [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    first.drain()
    first.sink.missing = set()
    while one(db, TOGETHER) is False:
        assert run(first, "parcels") is not None
    written += [publish(db, "a", channel=name) for name in ("parcels", "orders")]
    with Relay(database_url, TransactionalSink(cluster)) as second:
        # The second one has come to believe that the first one is gone.
        (origin,) = [found for found in second.probe() if found.channel is None]
        sink = second.sink
        assert isinstance(sink, TransactionalSink)
        db.execute("update outbox.checkpoint set relay = '' where cursor_id = %s", [origin.id])
        # To it the channel cursor waits, so that it does not merge but reads on.
        db.execute(
            "update outbox.cursor set waiting_since = now(), waiting_reason = 'x'"
            " where channel = 'parcels'"
        )
        sink.missing = {"parcels"}
        sink.transactions.dies = True
        (origin,) = [found for found in second.probe() if found.channel is None]
        with pytest.raises(psycopg.OperationalError):
            second.run(origin)
    db.execute("update outbox.cursor set waiting_since = null, waiting_reason = null")
    # The first one wakes, believes that it still owns the cursor, and finds the other at its side.
    assert one(db, TOGETHER)
    with pytest.raises(SinkAway, match="fenced"):
        run(first, None)
    assert db.execute(CHANNEL_CURSORS).fetchall() == [("parcels",)]
    first.drain()
    assert db.execute(CHANNEL_CURSORS).fetchall() == []
    written.append(publish(db, "a", channel="parcels"))
    first.drain()
    assert sorted(found.id for found in cluster.arrivals) == written
