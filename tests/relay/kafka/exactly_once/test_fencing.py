"""Owners of a cursor's transactions: fenced ones are never seen, lost ones are replaced."""

from random import Random
from threading import Event

import pytest
from confluent_kafka import Producer

from local.kafka import Kafka
from tests.eventually import eventually
from tests.relay.stage import ExactlyOnceStage
from tests.relay.traps import Trap, commit_of, new_producer, spied
from tests.relay.wires import Wires

pytestmark = pytest.mark.long

pytest_plugins = [
    "tests.relay.stage_fixtures",
    "tests.relay.exactly_once_fixtures",
]

# So long may a run wait for the broker; five seconds later, one that does nothing has lost its
# session.
BARRIER_SECONDS = "1"
LATEST = "select relay from outbox.checkpoint where messages > 0 order by created_at desc limit 1"
TRANSACTIONAL_ID = """
select 'outbox.' || i.id || '.' || c.id from outbox.installation i, outbox.cursor c
where c.priority = 3
"""
# A broker that forgets a producer after three seconds without a transaction.
FORGETFUL = {
    "transactional.id.expiration.ms": "3000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "200",
}


def test_a_zombie_that_wakes_in_the_middle_of_its_commit_is_fenced_and_never_seen(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    zombie = spied(wires, "zombie", RELAY_BARRIER_SECONDS=BARRIER_SECONDS)
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    woken, asleep = Event(), Event()

    def fall_asleep() -> None:
        zombie.pause()
        asleep.set()
        # Its commit is on its way for as long as it sleeps.
        woken.wait(60)

    Trap(wires.kafka, commit_of("zombie"), fall_asleep)
    stage.publish(200, "orders", group="late")
    assert asleep.wait(30)
    stage.relay(RELAY_NAME="rival")
    try:

        def taken_over() -> None:
            assert stage.query(LATEST) == [("rival",)]

        eventually(taken_over, 30)
        stage.all_arrived_once("orders")
    finally:
        woken.set()
        zombie.resume()

    def noticed() -> None:
        assert "session_failed" in zombie.output()

    eventually(noticed, 20)
    stage.publish(200, "orders", group="later")
    stage.all_arrived_once("orders")
    # What the zombie had produced is in the topic, and only there.
    assert len(stage.arrivals("orders", "read_uncommitted")) == 610


def test_a_commit_that_timed_out_though_it_happened_is_adopted(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    relay = spied(wires, "deaf", RELAY_BARRIER_SECONDS=BARRIER_SECONDS)
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    for given_up in (1, 2):
        before = stage.checkpoints()
        trap = Trap(wires.kafka, commit_of("deaf"), wires.kafka.mute)
        stage.publish(100, "orders", group=f"g{given_up}")
        trap.wait()

        def happened(messages: int = 10 + given_up * 100) -> None:
            assert len(stage.arrivals("orders")) == messages

        eventually(happened, 10)
        assert stage.checkpoints() == before

        def gave_up(times: int = given_up) -> None:
            assert relay.output().count("session_failed") >= times

        eventually(gave_up, 30)
        wires.kafka.flow()
        stage.all_arrived_once("orders")
    assert "kafka_cursor_adopted" in relay.output()


def test_a_commit_whose_answer_is_cut_off_is_found_out(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    stage.create_topic("orders")
    spied(wires, "cut")
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    trap = Trap(wires.kafka, commit_of("cut"), wires.kafka.mute)
    stage.publish(100, "orders")
    trap.wait()
    eventually(lambda: stage.in_order("orders"), 10)
    wires.kafka.cut()
    wires.kafka.flow()
    stage.all_arrived_once("orders")


def test_a_relay_that_another_producer_fenced_gets_a_new_producer_and_goes_on(
    exactly_once: ExactlyOnceStage,
) -> None:
    stage = exactly_once
    stage.create_topic("orders")
    stage.relay()
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    ((transactional_id,),) = stage.query(TRANSACTIONAL_ID)
    for _ in range(2):
        other = Producer(
            {
                "bootstrap.servers": stage.bootstrap_servers,
                "transactional.id": transactional_id,
                "log_level": 2,
            }
        )
        other.init_transactions(30)
        stage.publish(100, "orders")
        stage.all_arrived_once("orders")


def test_a_producer_that_the_broker_forgot_is_replaced(
    fragile: ExactlyOnceStage, broker: Kafka
) -> None:
    stage, former = fragile, broker.settings
    broker.kill()
    broker.settings = {**former, **FORGETFUL}
    try:
        broker.launch()
        stage.create_topic("orders")
        stage.relay()
        for _ in range(2):
            stage.publish(100, "orders")
            stage.all_arrived_once("orders")
            # The only thing to wait for is the broker's clock.
            stage.query("select pg_sleep(4)")
    finally:
        broker.settings = former
        broker.kill()


PUBLISH_BYTES = "select outbox.publish_bytes('orders', 'event', %s, 'image/png', group_key => 'g')"


def test_a_message_that_is_refused_costs_one_new_producer_and_one_of_its_channel(
    wires: Wires, watched: ExactlyOnceStage
) -> None:
    stage = watched
    made: list[bytes] = []

    def listen(data: bytes) -> None:
        made.extend(new_producer("steady").findall(data))

    wires.kafka.watch = listen
    stage.create_topic("orders", partitions=1, **{"max.message.bytes": "20000"})
    # Of what is compressed only the broker says that it is too large.
    spied(wires, "steady", KAFKA_COMPRESSION_TYPE="gzip")
    stage.publish(10, "orders")
    stage.all_arrived_once("orders")
    before = len(made)
    assert before > 0
    with stage.database() as db, db.transaction():
        for payload in (b"small", Random(1).randbytes(30_000), b"small"):
            db.execute(PUBLISH_BYTES, (payload,))

    def given_up() -> None:
        assert [reason for _, reason in stage.dead_letters()] == ["MSG_SIZE_TOO_LARGE"]

    eventually(given_up, 30)
    stage.publish(10, "orders")

    def arrived() -> None:
        assert len(stage.arrivals("orders")) == 22

    eventually(arrived, 30)
    # Its refusal left a gap in the sequence numbers of the former one. What was read behind it went
    # by a cursor of the channel's own.
    assert len(made) == before + 2
