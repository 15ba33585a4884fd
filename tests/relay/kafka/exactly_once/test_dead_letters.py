"""A message that can't go becomes a dead letter; its neighbours, and its redrive, are seen once."""

import re

import pytest

from tests.eventually import eventually
from tests.log_reader import read_log, reckon
from tests.relay.kafka.test_dead_letters import SMALL_LIMIT, set_limit
from tests.relay.stage import ExactlyOnceStage
from tests.relay.traps import CHECKPOINT, kill_at
from tests.relay.wires import Wires

pytestmark = pytest.mark.long

pytest_plugins = [
    "tests.relay.stage_fixtures",
    "tests.relay.exactly_once_fixtures",
]

DEAD_LETTER = re.compile(b"insert into outbox.dead_letter")
REDRIVE = "select outbox.redrive(array(select id from outbox.dead_letter))"
# Three that are too large between small ones of the same groups, in one transaction.
PUBLISH = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'event', 'g' || n %% 2,
       convert_to(rpad('x', case when n in (50, 51, 150) then 30000 else 20 end), 'UTF8')
from generate_series(1, 200) as n
"""
DELIVERED = "select count(*) from outbox.dead_letter where delivered_at is not null"
TOO_LARGE = [(message, "MSG_SIZE_TOO_LARGE") for message in (50, 51, 150)]


def neighbours_are_seen_once(stage: ExactlyOnceStage, *dead_letters: int) -> None:
    """Raises AssertionError unless all but the dead letters arrived, in order and once."""
    good = [one for one in read_log(stage.database_url, "orders") if one.id not in dead_letters]
    reckoning = reckon(good, stage.arrivals("orders"))
    reckoning.demand_all_in_order()
    assert reckoning.repeats == 0


def test_messages_too_large_get_their_dead_letters_and_their_neighbours_are_seen_once(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders", partitions=2, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH)
    assert stage.relay("--once").wait(60) == 0
    assert stage.dead_letters() == TOO_LARGE
    eventually(lambda: neighbours_are_seen_once(stage, 50, 51, 150))


def test_only_what_is_too_large_dies_when_the_limit_is_lowered_under_a_running_relay(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    topic = stage.create_topic("orders", partitions=1)
    stage.publish(49, "orders", groups=1)
    stage.relay()
    stage.all_arrived_once("orders")
    # The relay believes in the former limit and packs batches that are now refused as a whole.
    set_limit(stage, topic, 5_000)
    with stage.database() as connection, connection.transaction():
        for size in (100, 6_000, 100):
            connection.execute(
                "select outbox.publish_bytes('orders', 'event', %s, 'text/plain', 'g')"
                " from generate_series(1, %s)",
                (b"x" * size, 1 if size > 5_000 else 100),
            )

    def only_one_died() -> None:
        assert stage.dead_letters() == [(150, "MSG_SIZE_TOO_LARGE")]

    eventually(only_one_died, 30)
    eventually(lambda: neighbours_are_seen_once(stage, 150), 30)


def test_a_message_without_key_to_a_compacted_topic_gets_its_letter_alone(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders", 2, **{"cleanup.policy": "compact"})
    stage.publish(50, "orders", groups=50)
    stage.execute("select outbox.publish('orders', 'event', '{}')")
    stage.publish(50, "orders", groups=50, group="h")
    assert stage.relay("--once").wait(60) == 0
    assert stage.dead_letters() == [(51, "INVALID_RECORD")]
    eventually(lambda: neighbours_are_seen_once(stage, 51))


def test_a_relay_killed_before_it_wrote_a_letter_does_not_lose_it(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders", partitions=2, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH)
    for _ in range(2):
        kill_at(wires.database, DEAD_LETTER, wires.relay())
        assert stage.dead_letters() == []
    assert stage.relay("--once").wait(60) == 0
    assert stage.dead_letters() == TOO_LARGE
    eventually(lambda: neighbours_are_seen_once(stage, 50, 51, 150))


def dead(stage: ExactlyOnceStage) -> None:
    """Three messages have died, and their topic has room for them now."""
    topic = stage.create_topic("orders", partitions=1, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH)
    assert stage.relay("--once").wait(60) == 0
    assert stage.dead_letters() == TOO_LARGE
    set_limit(stage, topic, 1_048_588)


def test_redriven_dead_letters_are_seen_once(exactly_once: ExactlyOnceStage) -> None:
    stage = exactly_once
    dead(stage)
    stage.execute(REDRIVE)
    stage.publish(10, "orders")
    assert stage.relay("--once").wait(60) == 0
    stage.execute(REDRIVE)
    assert stage.relay("--once").wait(60) == 0
    assert stage.query(DELIVERED) == [(3,)]
    eventually(lambda: all_are_seen_once(stage))


def all_are_seen_once(stage: ExactlyOnceStage) -> None:
    """Raises AssertionError unless everything arrived once; dead letters come behind the others."""
    reckoning = stage.reckoning("orders")
    assert (reckoning.lost, reckoning.strange, reckoning.repeats) == ([], [], 0)


@pytest.mark.parametrize("new_messages", [0, 10])
def test_dead_letters_that_kafka_committed_and_postgres_not_are_not_sent_again(
    wires: Wires, watched: ExactlyOnceStage, new_messages: int
) -> None:
    stage = watched
    dead(stage)
    stage.execute(REDRIVE)
    kill_at(wires.database, CHECKPOINT, wires.relay())
    assert stage.query(DELIVERED) == [(0,)]
    eventually(lambda: all_are_seen_once(stage))
    if new_messages:
        stage.publish(new_messages, "orders")
    assert stage.relay("--once").wait(60) == 0
    assert stage.query(DELIVERED) == [(3,)]
    eventually(lambda: all_are_seen_once(stage))
