"""A relay that is frozen loses its work to another, and what it does when it wakes is refused."""

from local.kafka import Kafka
from tests.eventually import eventually
from tests.relay.stage import Stage

pytest_plugins = ["tests.relay.stages"]

# So long may a run wait for the broker; five seconds later, one that does nothing has lost its
# session.
BARRIER_SECONDS = "3"

SESSION = """
select state, wait_event from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay a cursor%%'
"""
RELAYS = "select distinct relay from outbox.checkpoint where messages > 0"


def in_state(stage: Stage, state: str, wait_event: str) -> None:
    """Raises AssertionError unless the session of relay a is in a run and waits so."""
    assert stage.query(SESSION) == [(state, wait_event)]


def took_over(stage: Stage) -> None:
    """Raises AssertionError until relay b has written a checkpoint."""
    assert ("b",) in stage.query(RELAYS)


def noticed(stage: Stage, log: str) -> None:
    """Raises AssertionError until relay a's log tells that its session is over.

    Woken, it finds its database gone, or first that the broker took too long.
    """
    assert "session_failed" in log


def test_a_relay_frozen_idle_in_transaction_is_replaced_and_refused(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    frozen = stage.relay(RELAY_NAME="a", RELAY_BARRIER_SECONDS=BARRIER_SECONDS)
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    broker.pause()
    stage.publish(200, "orders")
    eventually(lambda: in_state(stage, "idle in transaction", "ClientRead"), 10)
    frozen.pause()
    broker.resume()
    stage.relay(RELAY_NAME="b")
    stage.publish(200, "orders")
    eventually(lambda: took_over(stage), 20)
    stage.all_arrived("orders")
    frozen.resume()
    eventually(lambda: noticed(stage, frozen.output()), 10)
    stage.publish(200, "orders")
    stage.all_arrived("orders")


def test_a_relay_frozen_in_the_middle_of_a_stream_is_replaced_and_refused(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    # A queue of 2 MB and a broker that takes nothing: reading stops in the middle of 60 MB.
    frozen = stage.relay(
        RELAY_NAME="a",
        RELAY_BARRIER_SECONDS=BARRIER_SECONDS,
        KAFKA_QUEUE_BUFFERING_MAX_KBYTES="2000",
    )
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    broker.pause()
    stage.publish(3000, "orders", size=20_000)
    eventually(lambda: in_state(stage, "active", "ClientWrite"), 10)
    frozen.pause()
    broker.resume()
    stage.relay(RELAY_NAME="b")
    eventually(lambda: took_over(stage), 30)
    stage.all_arrived("orders")
    frozen.resume()
    eventually(lambda: noticed(stage, frozen.output()), 10)
    stage.publish(200, "orders")
    stage.all_arrived("orders")
