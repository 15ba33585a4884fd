"""Subscriptions that follow the log together: each gets all of it, in order, whatever others do."""

from collections import Counter
from functools import partial

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.log_reader import read_log, reckon
from tests.relay.stage import Stage
from tests.topic_reader import read_topic

pytest_plugins = ["tests.relay.stage_fixtures"]

SUBSCRIBE = """
insert into outbox.subscription (name, settings)
select name, jsonb_build_object('topic_prefix', name || '.') from unnest(%s::text[]) as name
"""
BY_RELAY = """
select k.relay, count(*) from outbox.checkpoint k
join outbox.cursor c on c.id = k.cursor_id
where c.priority = 3 and k.messages > 0 group by k.relay
"""
WAITING = """
select s.name from outbox.cursor c join outbox.subscription s on s.id = c.subscription_id
where c.channel is not null
"""
# So many subscriptions moved at once: the transaction of their checkpoints is one.
TOGETHER = """
select max(moved) from (
    select count(distinct cursor_id) as moved from outbox.checkpoint where messages > 0
    group by xmin::text) as runs
"""
LATEST_OF = """
select max(k.messages) from outbox.checkpoint k
join outbox.cursor c on c.id = k.cursor_id
join outbox.subscription s on s.id = c.subscription_id where s.name = %s
"""


def subscribe(stage: Stage, *names: str, topics: bool = True) -> None:
    """Kafka subscriptions with topics of their own, in the place of the one that was there."""
    stage.execute("delete from outbox.subscription where name = 'kafka'")
    stage.execute(SUBSCRIBE, list(names))
    for name in names:
        if topics:
            stage.create_topic(f"{name}.orders")


def arrived(stage: Stage, name: str) -> None:
    """Raises AssertionError until all has come to this subscription, and for a wrong order."""
    topic = f"{stage.topic_prefix}{name}.orders"
    arrivals = read_topic(stage.bootstrap_servers, topic)
    reckon(read_log(stage.database_url, "orders"), arrivals).demand_all_in_order()


def all_arrived(stage: Stage, *names: str) -> None:
    for name in names:
        eventually(partial(arrived, stage, name), 60)


def warm(stage: Stage, *names: str) -> Program:
    """A relay that knows the topics."""
    relay = stage.relay()
    stage.publish(1, "orders")
    all_arrived(stage, *names)
    return relay


@pytest.mark.long
def test_all_move_together_and_each_gets_everything_in_order(stage: Stage) -> None:
    names = [f"s{n}" for n in range(6)]
    subscribe(stage, *names)
    relay = warm(stage, *names)
    for _ in range(20):
        stage.publish(50, "orders")
    all_arrived(stage, *names)
    assert stage.query(TOGETHER) == [(6,)]
    assert relay.stop() == 0


@pytest.mark.long
def test_a_topic_that_is_missing_holds_up_no_other(stage: Stage) -> None:
    names = ["a", "b", "c"]
    subscribe(stage, *names)
    subscribe(stage, "lacks", topics=False)
    stage.relay()
    stage.publish(10, "orders")
    all_arrived(stage, *names)

    def waits() -> None:
        assert stage.query(WAITING) == [("lacks",)]

    eventually(waits, 30)
    stage.publish(10, "orders")
    all_arrived(stage, *names)
    stage.create_topic("lacks.orders")
    all_arrived(stage, "lacks")


@pytest.mark.nightly
def test_one_with_a_large_backlog_catches_up_while_the_others_go_on(stage: Stage) -> None:
    names = ["a", "b", "late"]
    subscribe(stage, *names)
    relay = warm(stage, *names)
    stage.execute("update outbox.subscription set paused = true where name = 'late'")
    stage.publish(30_000, "orders", groups=100)
    all_arrived(stage, "a", "b")
    stage.execute("update outbox.subscription set paused = false where name = 'late'")
    stage.publish(10, "orders")
    all_arrived(stage, *names)
    assert relay.stop() == 0


@pytest.mark.long
def test_what_a_killed_relay_had_begun_another_one_ends(stage: Stage) -> None:
    names = [f"s{n}" for n in range(5)]
    subscribe(stage, *names)
    killed = warm(stage, *names)
    for _ in range(5):
        stage.publish(500, "orders")
    killed.kill()
    stage.relay()
    stage.publish(100, "orders")
    all_arrived(stage, *names)


@pytest.mark.long
def test_two_relays_share_the_cursors(stage: Stage) -> None:
    names = [f"s{n}" for n in range(12)]
    subscribe(stage, *names)
    for relay in ("one", "two"):
        stage.relay(RELAY_NAME=relay)

    def both_work() -> None:
        stage.publish(5, "orders")
        runs = Counter[str](dict(stage.query(BY_RELAY)))
        assert runs.total() > 500
        assert min(runs["one"], runs["two"]) > runs.total() / 4

    eventually(both_work, 60)
    all_arrived(stage, *names)
