"""What can never be delivered is given up alone; everything around it goes on."""

import random
from functools import partial

import pytest
from confluent_kafka.admin._acl import AclOperation

from tests.eventually import eventually
from tests.kafka_config import configure_topic
from tests.log_reader import Reckoning, read_log, reckon
from tests.relay.kafka.test_topics import acl, create
from tests.relay.stage import Stage, values

pytest_plugins = ["tests.relay.stage_fixtures"]

PUBLISH = """
insert into outbox.message (channel, type, group_key, payload) values (%s, 'event', %s, %s)
"""
# What a record batch of one message may weigh here.
SMALL_LIMIT = "20000"


def set_limit(stage: Stage, topic: str, max_message_bytes: int) -> None:
    """Changes a topic's max.message.bytes."""
    configure_topic(stage.bootstrap_servers, topic, **{"max.message.bytes": str(max_message_bytes)})


def neighbours_arrived_in_order(stage: Stage, dead_letters: list[int], channel: str) -> Reckoning:
    """All but the dead letters arrived, each group in its order."""
    good = [one for one in read_log(stage.database_url, channel) if one.id not in dead_letters]
    reckoning = reckon(good, stage.arrivals(channel))
    reckoning.demand_all_in_order()
    return reckoning


def neighbours_arrived_once_in_order(stage: Stage, dead_letters: list[int], channel: str) -> None:
    """And nothing twice."""
    assert neighbours_arrived_in_order(stage, dead_letters, channel).repeats == 0


def test_a_message_too_large_dies_alone_between_neighbours_that_arrive_once_in_order(
    stage: Stage,
) -> None:
    stage.create_topic("orders", partitions=2, **{"max.message.bytes": SMALL_LIMIT})
    stage.publish(500, "orders", groups=3)
    stage.execute(PUBLISH, "orders", "g1", b"x" * 30_000)
    stage.publish(500, "orders", groups=3)
    assert stage.relay("--once").wait(60) == 0
    ((dead_letter, reason),) = stage.dead_letters()
    assert (dead_letter, reason) == (501, "MSG_SIZE_TOO_LARGE")
    neighbours_arrived_once_in_order(stage, [dead_letter], "orders")


def test_many_that_are_too_large_by_their_headers_die_and_delay_no_other(stage: Stage) -> None:
    stage.create_topic("orders", partitions=2, **{"max.message.bytes": "10000"})
    poison = """
    insert into outbox.message (channel, type, group_key, payload, headers)
    select 'orders', 'event', 'g' || n %% 7, '{}',
           case when n %% 50 = 0 then json_build_object('note', repeat('x', 15000))::text end
    from generate_series(1, 2000) as n
    """
    stage.execute(poison)
    assert stage.relay("--once").wait(60) == 0
    dead_letters = [
        dead_letter
        for dead_letter, reason in stage.dead_letters()
        if reason == "MSG_SIZE_TOO_LARGE"
    ]
    assert len(dead_letters) == 40
    neighbours_arrived_once_in_order(stage, dead_letters, "orders")


BETWEEN = """
insert into outbox.message (channel, type, group_key, payload)
select 'orders', 'event', 'g' || n %% 7,
       convert_to(rpad(n::text, case when n %% 2 = 0 then 30000 else 20 end), 'UTF8')
from generate_series(1, 200) as n
"""


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_many_that_are_too_large_between_good_ones_die_in_one_run(
    stage: Stage, delivery: str
) -> None:
    stage = stage.exactly_once()
    stage.deliver(delivery)
    stage.create_topic("orders", partitions=2, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(BETWEEN)
    before = stage.checkpoints()
    assert stage.relay("--once").wait(60) == 0
    dead_letters = [dead_letter for dead_letter, _ in stage.dead_letters()]
    assert dead_letters == list(range(2, 201, 2))
    eventually(lambda: neighbours_arrived_once_in_order(stage, dead_letters, "orders"))
    # One, and one that finds the rest of the delta empty; with exactly once another at first, which
    # says whose the cursor is.
    assert stage.checkpoints() - before <= 2 + (delivery == "exactly_once")


def test_where_messages_are_compressed_only_the_broker_says_which_are_too_large(
    stage: Stage,
) -> None:
    stage.create_topic("orders", partitions=1, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH, "orders", "g", b"x" * 30_000)
    stage.execute(PUBLISH, "orders", "g", random.Random(1).randbytes(30_000))
    assert stage.relay("--once", KAFKA_COMPRESSION_TYPE="gzip").wait(60) == 0
    assert stage.dead_letters() == [(2, "MSG_SIZE_TOO_LARGE")]
    assert values(stage.arrivals("orders")) == [b"x" * 30_000]


@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.nightly)]
)
def test_many_that_the_broker_refuses_one_by_one_delay_no_other_channel(
    stage: Stage, delivery: str
) -> None:
    """Each takes a run, and of these others wait for the first."""
    stage = stage.exactly_once()
    stage.deliver(delivery)
    stage.create_topic("images", partitions=1, **{"max.message.bytes": SMALL_LIMIT})
    stage.create_topic("orders", partitions=1)
    chance = random.Random(1)
    stage.execute(PUBLISH, "images", "g", b"small")
    for _ in range(30):
        stage.execute(PUBLISH, "images", "g", chance.randbytes(30_000))
    stage.execute(PUBLISH, "images", "g", b"last")
    stage.execute(PUBLISH, "orders", "g", b"paid")
    assert stage.relay("--once", KAFKA_COMPRESSION_TYPE="gzip").wait(60) == 0
    refused = list(range(2, 32))
    assert stage.dead_letters() == [(one, "MSG_SIZE_TOO_LARGE") for one in refused]
    eventually(lambda: neighbours_arrived_once_in_order(stage, refused, "images"))
    eventually(lambda: neighbours_arrived_once_in_order(stage, [], "orders"))
    # Those of the cursor that all channels share: the channel's own, which is merged, are gone.
    assert stage.query("select count(*) from outbox.cursor where channel is not null") == [(0,)]
    assert stage.checkpoints() < 15


@pytest.mark.long
@pytest.mark.parametrize(
    "delivery", ["at_least_once", pytest.param("exactly_once", marks=pytest.mark.nightly)]
)
def test_what_arrives_elsewhere_meanwhile_does_not_keep_a_refused_message_from_being_found(
    fragile_stage: Stage, delivery: str
) -> None:
    """By shorter and shorter runs: the relay may not ask this topic for its limit."""
    stage = fragile_stage.exactly_once()
    stage.deliver(delivery)
    topic = stage.create_topic("images", partitions=1, **{"max.message.bytes": SMALL_LIMIT})
    create(stage, [acl(topic, one) for one in (AclOperation.READ, AclOperation.WRITE)])
    stage.create_topic("orders", partitions=1)
    # One transaction: small, small, large, small and so on.
    sizes = [30_000 if n % 3 == 2 else 20 for n in range(9)]
    with stage.database() as db, db.transaction():
        for size in sizes:
            db.execute(PUBLISH, ("images", "g", b"x" * size))
    refused = [n + 1 for n, size in enumerate(sizes) if size > 20]
    stage.relay()

    def are_given_up() -> None:
        stage.publish(1, "orders")
        assert stage.dead_letters() == [(one, "MSG_SIZE_TOO_LARGE") for one in refused]

    eventually(are_given_up, 40)
    for channel in ("images", "orders"):
        arrived = partial(neighbours_arrived_in_order, stage, refused, channel)
        assert eventually(arrived).repeats == 0 or delivery == "at_least_once"


def test_a_dead_letter_says_why_and_keeps_the_whole_message(stage: Stage) -> None:
    stage.create_topic("orders", 1, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH, "orders", "g", b"x" * 30_000)
    assert stage.relay("--once").wait(60) == 0
    same = """
    select dead_letter.payload = message.payload,
           dead_letter.idempotency_key = message.idempotency_key,
           dead_letter.group_key = message.group_key, dead_letter.created_at = message.created_at,
           dead_letter.detail <> '', dead_letter.attempts
    from outbox.dead_letter join outbox.message on message.id = dead_letter.message_id
    """
    assert stage.query(same) == [(True, True, True, True, True, 1)]


def test_a_message_without_key_to_a_compacted_topic_dies_alone(stage: Stage) -> None:
    stage.create_topic("customers", 2, **{"cleanup.policy": "compact"})
    stage.publish(200, "customers", groups=200)
    stage.execute(PUBLISH, "customers", None, b"without a key")
    stage.publish(200, "customers", groups=200, group="h")
    assert stage.relay("--once").wait(60) == 0
    ((dead_letter, reason),) = stage.dead_letters()
    assert (dead_letter, reason) == (201, "INVALID_RECORD")
    neighbours_arrived_once_in_order(stage, [dead_letter], "customers")


ALTERNATE = """
    insert into outbox.message (channel, type, group_key, payload)
    select 'customers', 'event', case when n %% 2 = 0 then 'g' || n end, convert_to(n::text, 'UTF8')
    from generate_series(1, 1000) as n
"""


def test_messages_without_key_between_good_ones_delay_no_other(stage: Stage) -> None:
    stage.create_topic("customers", 2, **{"cleanup.policy": "compact"})
    stage.execute(ALTERNATE)
    before = stage.checkpoints()
    assert stage.relay("--once").wait(60) == 0
    dead_letters = [dead_letter for dead_letter, _ in stage.dead_letters()]
    assert len(dead_letters) == 500
    neighbours_arrived_once_in_order(stage, dead_letters, "customers")
    assert stage.checkpoints() - before <= 5


def test_no_good_message_dies_where_the_topics_limit_is_smaller_than_a_batch(stage: Stage) -> None:
    stage.create_topic("orders", partitions=1, **{"max.message.bytes": "4000"})
    stage.publish(600, "orders", size=900)
    assert stage.relay("--once").wait(60) == 0
    assert stage.dead_letters() == []
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 0


def test_the_largest_message_that_a_topic_takes_does_not_die(stage: Stage) -> None:
    stage.create_topic("orders", partitions=1, **{"max.message.bytes": "4000"})
    # Around the limit, byte by byte: Kafka takes what fits, and nothing that fits is given up.
    with stage.database() as connection:
        for size in range(3_400, 4_000, 10):
            connection.execute(PUBLISH, ("orders", "g", b"x" * size))
    assert stage.relay("--once").wait(60) == 0
    died = {dead_letter for dead_letter, _ in stage.dead_letters()}
    sizes = [len(value) for value in values(stage.arrivals("orders"))]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 3_500, "what Kafka's own overhead leaves room for"
    largest_id = len(sizes)
    assert died == set(range(largest_id + 1, 61))


def test_nothing_good_is_lost_or_overtaken_when_the_limit_is_lowered_under_a_running_relay(
    stage: Stage,
) -> None:
    topic = stage.create_topic("orders", partitions=1)
    stage.publish(10, "orders", groups=1)
    stage.relay()
    stage.all_arrived("orders")
    # The relay believes in the former limit and packs batches that are now refused as a whole.
    set_limit(stage, topic, 50_000)
    stage.publish(2_000, "orders", groups=1, size=500)
    stage.all_arrived("orders")
    assert stage.dead_letters() == []


def test_after_a_lowered_limit_only_what_is_too_large_dies(stage: Stage) -> None:
    topic = stage.create_topic("orders", partitions=1)
    stage.publish(10, "orders", groups=1)
    stage.relay()
    stage.all_arrived("orders")
    set_limit(stage, topic, 50_000)
    with stage.database() as connection, connection.transaction():
        for n in range(200):
            payload = (b"%d" % n).ljust(60_000 if n == 100 else 1_000)
            connection.execute(PUBLISH, ("orders", "g0", payload))

    def only_one_died() -> None:
        assert stage.dead_letters() == [(111, "MSG_SIZE_TOO_LARGE")]

    eventually(only_one_died, timeout_seconds=30)
    good = [one for one in read_log(stage.database_url, "orders") if one.id != 111]

    def the_others_arrived_in_order() -> None:
        reckon(good, stage.arrivals("orders")).demand_all_in_order()

    eventually(the_others_arrived_in_order, timeout_seconds=30)


def test_a_redriven_dead_letter_arrives_once_its_topic_takes_it(stage: Stage) -> None:
    topic = stage.create_topic("orders", partitions=1, **{"max.message.bytes": SMALL_LIMIT})
    stage.execute(PUBLISH, "orders", "g", b"x" * 30_000)
    assert stage.relay("--once").wait(60) == 0
    set_limit(stage, topic, 1_048_588)
    stage.execute("select outbox.redrive(array(select id from outbox.dead_letter))")
    assert stage.relay("--once").wait(60) == 0
    (arrival,) = stage.arrivals("orders")
    ((key,),) = stage.query("select idempotency_key from outbox.message")
    assert (arrival.idempotency_key, arrival.value) == (key, b"x" * 30_000)
