"""A channel whose topic is missing waits, says so, and delays no other channel."""

import json
from collections.abc import Sequence

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from tests.eventually import eventually
from tests.kafka_config import configure_topic
from tests.relay.operating import outbox_relay
from tests.relay.stage import Stage

pytest_plugins = ["tests.relay.stage_fixtures"]

WAITING = """
select cursor.channel, cursor.waiting_reason from outbox.cursor where waiting_since is not null
"""

CHANNEL_CURSORS = "select channel from outbox.cursor where channel is not null"

LATEST_OF_FORKS = """
select max(n) from outbox.checkpoint
join outbox.cursor on cursor.id = checkpoint.cursor_id
where cursor.channel is not null
"""


def arrived(stage: Stage, channel: str, messages: int) -> None:
    """Raises AssertionError where the topic does not hold so many."""
    assert len(stage.arrivals(channel)) == messages


def waits(stage: Stage, channel: str) -> str:
    """The reason why a channel waits. Raises AssertionError where none does, or another one."""
    ((waiting, reason),) = stage.query(WAITING) or [(None, None)]
    assert waiting == channel
    return str(reason)


def test_the_other_channels_flow_while_one_waits_for_its_topic(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.relay()
    stage.publish(50, "missing")
    stage.publish(50, "orders")
    eventually(lambda: arrived(stage, "orders", 50), 20)
    eventually(lambda: waits(stage, "missing"), 20)
    stage.publish(50, "orders")
    eventually(lambda: arrived(stage, "orders", 100), 20)
    assert stage.dead_letters() == []


def test_a_channel_that_waits_says_so_in_its_cursor_the_status_and_the_log(stage: Stage) -> None:
    relay = stage.relay()
    stage.publish(1, "missing")
    topic = stage.topic_prefix + "missing"
    assert topic in eventually(lambda: waits(stage, "missing"), 20)
    status = outbox_relay("status", "--json", environment=stage.environment())
    (waiting,) = json.loads(status.stdout)["waiting"]
    assert (waiting["subscription"], waiting["channel"]) == ("kafka", "missing")
    assert topic in waiting["reason"]

    def the_log_says_so() -> None:
        assert topic in relay.output()

    eventually(the_log_says_so, 10)


def test_when_the_topic_is_made_everything_comes_once_and_in_order(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.relay()
    stage.publish(300, "missing")
    stage.publish(300, "orders")
    eventually(lambda: waits(stage, "missing"), 20)
    stage.publish(300, "missing")
    stage.publish(300, "orders")
    stage.create_topic("missing")
    stage.publish(300, "missing")
    for reckoning in stage.all_arrived("orders", "missing"):
        assert reckoning.repeats == 0

    def no_channel_waits() -> None:
        assert stage.query(WAITING) == []

    eventually(no_channel_waits, 10)


def test_a_channel_whose_topic_came_late_is_merged_back(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.relay()
    stage.publish(10, "late")
    eventually(lambda: waits(stage, "late"), 20)
    stage.create_topic("late")
    for _ in range(3):
        stage.publish(10, "orders")
        stage.publish(10, "late")

    def merged() -> None:
        assert stage.query(CHANNEL_CURSORS) == []

    eventually(merged, 20)
    stage.publish(10, "late")
    for reckoning in stage.all_arrived("orders", "late"):
        assert reckoning.repeats == 0


def test_three_hundred_channels_without_topics_delay_no_other(stage: Stage) -> None:
    """Set aside in one run: the good channel's messages need two more, however many are missing."""
    stage.create_topic("orders")
    stage.relay()
    stage.publish(1, "orders")
    stage.all_arrived("orders")
    before = stage.checkpoints()
    with stage.database() as connection, connection.transaction():
        for n in range(300):
            for channel in (f"mistyped-{n}", "orders"):
                connection.execute("select outbox.publish(%s, 'event', '{}')", (channel,))
    eventually(lambda: arrived(stage, "orders", 301), 30)
    assert len(stage.query(CHANNEL_CURSORS)) == 300

    def checkpointed() -> None:
        # Channel cursors begin at 0.
        assert 1 <= stage.checkpoints() - before <= 3

    eventually(checkpointed, 20)
    stage.create_topic("mistyped-7")
    eventually(lambda: arrived(stage, "mistyped-7", 1), 30)


def test_a_waiting_channel_writes_nothing_while_it_waits(stage: Stage) -> None:
    stage.relay()
    stage.publish(10, "missing")
    eventually(lambda: waits(stage, "missing"), 20)
    before = stage.checkpoints()
    # Long enough for several tries: the other channel's runs go on meanwhile.
    stage.create_topic("orders")
    for _ in range(5):
        stage.publish(1, "orders")
        eventually(lambda: waits(stage, "missing"), 5)
        stage.query("select pg_sleep(0.5)")
    ((n,),) = stage.query(LATEST_OF_FORKS)
    assert stage.checkpoints() > before
    assert n <= 1, f"{n} checkpoints of a cursor that did not move"


@pytest.mark.long
def test_a_second_missing_topic_does_not_wait_for_the_first(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.relay()
    for channel in ("gone", "lost"):
        stage.publish(20, channel)
    stage.publish(20, "orders")
    eventually(lambda: arrived(stage, "orders", 20), 20)
    stage.create_topic("lost")
    eventually(lambda: arrived(stage, "lost", 20), 20)
    stage.create_topic("gone")
    stage.all_arrived("gone", "lost", "orders")


@pytest.mark.long
def test_a_topic_deleted_under_a_running_relay_makes_its_channel_wait(stage: Stage) -> None:
    stage.create_topic("orders")
    topic = stage.create_topic("doomed")
    stage.relay(RELAY_BARRIER_SECONDS="2")
    stage.publish(10, "doomed")
    stage.publish(10, "orders")
    stage.all_arrived("doomed", "orders")
    stage.delete_topic(topic)
    stage.publish(10, "doomed")
    stage.publish(10, "orders")
    eventually(lambda: arrived(stage, "orders", 20), 30)
    eventually(lambda: waits(stage, "doomed"), 30)
    assert stage.dead_letters() == []
    stage.create_topic("doomed")
    eventually(lambda: arrived(stage, "doomed", 10), 30)


def forbid_writing(stage: Stage, topic: str) -> None:
    """Every client may see the topic and read it, and none write to it."""
    operations = (AclOperation.READ, AclOperation.DESCRIBE_CONFIGS)
    create(stage, [acl(topic, operation) for operation in operations])


def allow_writing(stage: Stage, topic: str) -> None:
    create(stage, [acl(topic, AclOperation.WRITE)])


def acl(topic: str, operation: AclOperation) -> AclBinding:
    """Everybody may do this with the topic."""
    return AclBinding(
        ResourceType.TOPIC,
        topic,
        ResourcePatternType.LITERAL,
        "User:*",
        "*",
        operation,
        AclPermissionType.ALLOW,
    )


def create(stage: Stage, allowed: Sequence[AclBinding]) -> None:
    admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
    for made in admin.create_acls(list(allowed), request_timeout=30).values():
        made.result(30)


@pytest.mark.long
@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.nightly)]
)
def test_a_channel_whose_topic_may_not_be_written_to_delays_no_other(
    fragile_stage: Stage, delivery: str
) -> None:
    stage = fragile_stage.exactly_once()
    stage.deliver(delivery)
    stage.create_topic("orders")
    topics = [stage.create_topic(f"forbidden-{n}") for n in range(3)]
    for topic in topics:
        forbid_writing(stage, topic)
    relay = stage.relay()
    for n in range(3):
        stage.publish(20, f"forbidden-{n}")
    stage.publish(20, "orders")
    eventually(lambda: stage.reckoning("orders").demand_all_in_order(), 30)

    def all_wait() -> None:
        assert len(stage.query(WAITING)) == 3

    eventually(all_wait, 30)
    assert stage.dead_letters() == []
    assert "session_failed" not in relay.output()
    for topic in topics:
        allow_writing(stage, topic)
    for reckoning in stage.all_arrived("orders", *(f"forbidden-{n}" for n in range(3))):
        assert reckoning.repeats == 0


BEYOND = "select count(*) from outbox.dead_letter where reason = 'TOO_MANY_WAITING_CHANNELS'"


def test_beyond_a_thousand_channels_without_topics_the_rest_are_dead_letters_and_no_channel_waits(
    stage: Stage,
) -> None:
    """No good channel is near them: more unknown ones come first than a run looks ahead."""
    stage.create_topic("orders")
    relay = stage.relay()
    with stage.database() as connection, connection.transaction():
        connection.execute(
            "select outbox.publish('mistyped-' || n % 1200, 'event', '{}')"
            " from generate_series(1, 2400) as n"
        )
        connection.execute("select outbox.publish('orders', 'event', '{}')")
    eventually(lambda: arrived(stage, "orders", 1), 60)
    assert len(stage.query(CHANNEL_CURSORS)) == 1000

    def told() -> None:
        assert stage.query(BEYOND) == [(400,)]
        assert "too_many_waiting_channels" in relay.output()

    eventually(told, 30)


@pytest.mark.long
def test_where_a_clock_is_off_its_channel_waits_alone_and_no_message_is_blamed(
    stage: Stage,
) -> None:
    stage.create_topic("orders")
    # To this topic's broker every message comes from the past.
    topic = stage.create_topic("late", partitions=1, **{"message.timestamp.before.max.ms": "0"})
    relay = stage.relay()
    stage.publish(100, "late")
    stage.publish(50, "orders")
    eventually(lambda: stage.reckoning("orders").demand_all_in_order(), 20)
    assert eventually(lambda: waits(stage, "late"), 20).startswith("INVALID_TIMESTAMP")
    stage.publish(50, "orders")
    eventually(lambda: stage.reckoning("orders").demand_all_in_order(), 20)
    configure_topic(
        stage.bootstrap_servers, topic, **{"message.timestamp.before.max.ms": "3600000"}
    )
    stage.all_arrived("orders", "late")
    assert stage.dead_letters() == []
    assert "session_failed" not in relay.output()


MADE_UP = """
    insert into outbox.message (channel, type, payload)
    select 'made-up-' || n, 'test.event', '{}' from generate_series(1, 20000) as n
"""
RUNS = """
    select count(*) from outbox.checkpoint join outbox.cursor on cursor.id = cursor_id
    where channel is null and checkpoint.relay <> ''
"""


def test_twenty_thousand_names_that_were_made_up_take_a_few_runs(stage: Stage) -> None:
    stage.create_topic("good")
    stage.execute(MADE_UP)
    stage.publish(1, "good")
    stage.relay()

    def arrived() -> None:
        assert len(stage.arrivals("good")) == 1

    eventually(arrived, 60)
    ((runs,),) = stage.query(RUNS)
    assert runs <= 15
