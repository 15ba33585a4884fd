"""Exactly once, while no process is killed: what a read_committed consumer sees."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.writers import writing

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures", "tests.relay.exactly_once_fixtures"]

WAITING = "select channel from outbox.cursor where waiting_since is not null"
RELAYS = "select distinct relay from outbox.checkpoint where messages > 0"
LATEST = "select relay from outbox.checkpoint where messages > 0 order by created_at desc limit 1"
PUBLISH_PRIORITIES = """
select outbox.publish('orders', 'event', '{}', 'g' || n %% 5, priority => 1 + 2 * n %% 6)
from generate_series(1, 300) as n
"""
# When the relay's sessions were last asked for something, and the WAL that each has written.
IDLE = """
select clock_timestamp(), max(query_start),
       jsonb_object_agg(pid, (pg_stat_get_backend_wal(pid)).wal_bytes)
from pg_stat_activity
where datname = current_database() and application_name = 'outbox-relay idle'
"""
# A session that is at work tells its WAL every second.
TOLD = timedelta(seconds=3)
CONNECTED = "select count(*) from pg_stat_activity where application_name like %s"


def test_every_message_is_seen_once_in_order_with_two_relays_at_work(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.relay(RELAY_NAME="a")
    stage.relay(RELAY_NAME="b")
    with writing(stage.database_url, "orders", seed=40):
        stage.moved_on(40)
    stage.all_arrived_once("orders")


def test_kafka_holds_a_cursor_for_each_priority_that_came(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.execute(PUBLISH_PRIORITIES)
    assert stage.relay("--once").wait(60) == 0
    stage.all_arrived_once("orders")
    notes = [stage.note(priority) for priority in range(1, 6)]
    assert [note is not None for note in notes] == [True, False, True, False, True]
    assert all(len(note) < 4096 for note in notes if note is not None)


def test_a_backlog_larger_than_a_run_is_seen_once_in_order(exactly_once: ExactlyOnceStage) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.publish(60_000, "orders", groups=50)
    stage.relay()
    stage.all_arrived_once("orders", timeout_seconds=60)
    assert stage.checkpoints() > 1


def test_an_idle_cursor_writes_nothing(exactly_once: ExactlyOnceStage) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.relay(RELAY_NAME="idle")
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    checkpoints = stage.checkpoints()

    def polls_and_writes_nothing() -> None:
        ((began_at, _, before),) = stage.query(IDLE)

        def polled_on() -> dict[str, int]:
            ((_, polled_at, now),) = stage.query(IDLE)
            assert polled_at > began_at + TOLD
            return dict(now)

        now = eventually(polled_on, 30)
        # Beside those that stay a session comes for maintenance, and goes.
        stayed = before.keys() & now.keys()
        assert stayed
        assert {pid: before[pid] for pid in stayed} == {pid: now[pid] for pid in stayed}

    # What its sessions wrote while they were at work is told with a second's delay. And the
    # first session to read what others wrote may prune a page or mark its rows: logged, once.
    eventually(polls_and_writes_nothing, 40)
    assert stage.checkpoints() == checkpoints


def test_the_other_channels_flow_while_one_waits_for_its_topic_and_it_catches_up_once(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.relay()
    with stage.database() as connection:
        for _ in range(20):
            connection.execute(
                "select outbox.publish(channel, 'event', '{}', group_key => 'g')"
                " from unnest(array['missing', 'orders']) as channel"
            )

    def waits() -> None:
        assert stage.query(WAITING) == [("missing",)]

    eventually(waits, 30)
    stage.publish(100, "orders")
    stage.publish(100, "missing")
    eventually(lambda: stage.in_order("orders"), 30)
    stage.create_topic("missing")
    stage.publish(100, "missing")
    stage.all_arrived_once("orders", "missing")


def test_switching_to_exactly_once_and_back_under_load_loses_nothing_and_keeps_the_order(
    exactly_once: ExactlyOnceStage, record_property: Callable[[str, object], None]
) -> None:
    stage = exactly_once

    def in_effect(delivery: str) -> None:
        """Only the transactions of exactly once note their cursor."""
        before = stage.note()
        stage.moved_on(4)
        assert (stage.note() != before) == (delivery == "exactly_once")

    stage.deliver("at_least_once")
    stage.create_topic("orders")
    stage.relay(RELAY_NAME="a")
    stage.relay(RELAY_NAME="b")
    with writing(stage.database_url, "orders", seed=41):
        for delivery in ("exactly_once", "at_least_once", "exactly_once"):
            stage.deliver(delivery)
            eventually(partial(in_effect, delivery), 30)
    (reckoning,) = eventually(lambda: stage.all_arrived("orders"), 30)
    record_property("repeats", reckoning.repeats)


def test_a_steady_stream_stays_with_one_relay_and_another_takes_over_when_it_is_killed(
    exactly_once: ExactlyOnceStage, record_property: Callable[[str, object], None]
) -> None:
    stage = exactly_once
    stage.create_topic("orders")

    def latest_is(relay: str) -> None:
        assert stage.query(LATEST) == [(relay,)]

    def connected(relay: str) -> None:
        assert stage.query(CONNECTED, f"outbox-relay {relay}%")[0][0] > 0

    first = stage.relay(RELAY_NAME="a")
    with writing(stage.database_url, "orders", seed=42, writers=2):
        eventually(lambda: latest_is("a"), 30)
        stage.relay(RELAY_NAME="b")
        eventually(lambda: connected("b"), 30)
        stage.moved_on(40)
        assert stage.query(RELAYS) == [("a",)]
        first.kill()
        killed_at = time.monotonic()
        eventually(lambda: latest_is("b"), 30)
        seconds = time.monotonic() - killed_at
        stage.moved_on(5)
    record_property("takeover_seconds", round(seconds, 3))
    print(f"taken over after {seconds:.3f} s")
    assert seconds < 10
    stage.all_arrived_once("orders")
