"""`outbox-relay run --once`: all that can go goes, and the exit status says whether it did."""

import time

import psycopg
import pytest

from local.kafka import Kafka
from tests.relay.stage import Stage

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

FILL = """
insert into outbox.message (channel, type, group_key, priority, payload)
select 'orders', 'event', 'g' || n, %s, '{}' from generate_series(1, 200) as n
"""


def test_once_exits_0_when_everything_is_delivered(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.publish(25_000, "orders")
    assert stage.relay("--once").wait(60) == 0
    (reckoning,) = stage.all_arrived("orders", timeout_seconds=0)
    assert reckoning.repeats == 0


def test_once_exits_0_when_there_is_nothing_to_do(stage: Stage) -> None:
    assert stage.relay("--once").wait(30) == 0
    assert stage.checkpoints() == 0


def test_once_delivers_what_can_go_names_what_can_not_and_exits_1(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.publish(100, "missing")
    stage.publish(100, "orders")
    relay = stage.relay("--once")
    assert relay.wait(30) == 1
    assert len(stage.arrivals("orders")) == 100
    assert stage.topic_prefix + "missing" in relay.output()


def test_once_leaves_paused_subscriptions_alone(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.execute("insert into outbox.subscription (name, paused) values ('resting', true)")
    stage.publish(10, "orders")
    assert stage.relay("--once").wait(30) == 0
    assert len(stage.arrivals("orders")) == 10
    stage.execute("update outbox.subscription set paused = false where name = 'resting'")
    assert stage.relay("--once").wait(30) == 0
    assert len(stage.arrivals("orders")) == 20


def test_once_exits_1_where_another_session_has_all_the_cursors_however_many(stage: Stage) -> None:
    """To find that out takes longer than from one look of the daemon's to the next."""
    stage.create_topic("orders")
    stage.execute("delete from outbox.subscription")
    stage.execute("insert into outbox.subscription (name, shards) values ('many', 20)")
    for priority in range(1, 6):
        stage.execute(FILL, priority)
    with psycopg.connect(stage.database_url) as rival:
        rival.execute("select from outbox.cursor for no key update")
        assert stage.relay("--once").wait(30) == 1


def test_once_delivers_what_is_committed_while_it_runs(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.publish(20_000, "orders")
    relay = stage.relay("--once")
    stage.publish(100, "orders")
    assert relay.wait(60) == 0
    stage.all_arrived("orders", timeout_seconds=0)


def test_once_exits_1_within_a_bound_where_no_broker_answers_at_the_address(
    stage: Stage,
) -> None:
    stage.publish(10, "orders")
    began_at = time.monotonic()
    # Port 9 is discard's: no server listens.
    assert stage.relay("--once", KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9").wait(40) == 1
    assert time.monotonic() - began_at < 30
    assert stage.checkpoints() == 0


def test_once_exits_1_within_a_bound_where_the_broker_is_frozen(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    stage.publish(10, "orders")
    broker.pause()
    began_at = time.monotonic()
    assert stage.relay("--once").wait(40) == 1
    assert time.monotonic() - began_at < 30
    assert stage.checkpoints() == 0
    broker.resume()
    assert stage.relay("--once").wait(40) == 0
    stage.all_arrived("orders", timeout_seconds=0)
