"""SIGTERM and SIGINT: the relay is gone within ten seconds and leaves nothing undone behind."""

import os
import signal
import threading
import time
from urllib.parse import urlsplit

import pytest

from local.kafka import Kafka
from local.program import Program
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.relay.stage import Stage
from tests.relay.writers import writing

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

IN_A_RUN = """
select from pg_stat_activity
where datname = current_database() and application_name like 'outbox-relay %% cursor %%'
  and state = 'idle in transaction'
"""


def in_a_run(stage: Stage) -> None:
    """Raises AssertionError unless a relay waits for the broker with a cursor in its hands."""
    assert len(stage.query(IN_A_RUN)) == 1


def ended(relay: Program, signal_: signal.Signals) -> float:
    """Sends the signal; the seconds until the relay has exited with 0."""
    began_at = time.monotonic()
    os.kill(relay.pid, signal_)
    assert relay.wait(15) == 0
    return time.monotonic() - began_at


def test_a_relay_that_is_told_to_stop_under_load_exits_0_and_loses_nothing(stage: Stage) -> None:
    stage.create_topic("orders")
    stage.publish(20_000, "orders")
    relay = stage.relay()
    with writing(stage.database_url, "orders", seed=11):
        before = stage.checkpoints()

        def at_work() -> None:
            assert stage.checkpoints() > before + 3

        eventually(at_work, 20)
        assert ended(relay, signal.SIGTERM) < 10
    stage.relay()
    (reckoning,) = stage.all_arrived("orders")
    assert reckoning.repeats == 0, "what was in flight was finished, not dropped"


@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_relay_stops_at_once(stage: Stage, signal_: signal.Signals) -> None:
    stage.create_topic("orders")
    stage.publish(1, "orders")
    relay = stage.relay()
    stage.all_arrived("orders")
    assert ended(relay, signal_) < 3


def test_a_flush_that_hangs_does_not_keep_the_relay_alive(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.create_topic("orders")
    relay = stage.relay(RELAY_BARRIER_SECONDS="60")
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    broker.pause()
    stage.publish(1_000, "orders")
    eventually(lambda: in_a_run(stage), 10)
    assert ended(relay, signal.SIGTERM) < 10
    broker.resume()
    stage.relay()
    stage.all_arrived("orders")


def test_a_database_that_falls_silent_does_not_keep_the_relay_alive(stage: Stage) -> None:
    stage.create_topic("orders")
    with Proxy(urlsplit(stage.database_url).port or 5432) as proxy:
        relay = stage.relay(DATABASE_URL=proxy.url(stage.database_url))
        stage.publish(10, "orders")
        stage.all_arrived("orders")
        asked = threading.Event()

        def silence(_: bytes) -> None:
            proxy.stall()
            asked.set()

        # What it asks next is never answered.
        proxy.watch = silence
        assert asked.wait(10)
        began_at = time.monotonic()
        os.kill(relay.pid, signal.SIGTERM)
        # It can't know what became of its sessions, and says so.
        assert relay.wait(15) in (0, 1)
        assert time.monotonic() - began_at < 12
    stage.relay()
    stage.publish(10, "orders")
    stage.all_arrived("orders")


def test_a_relay_that_finds_no_broker_stops_all_the_same(
    fragile_stage: Stage, broker: Kafka
) -> None:
    stage = fragile_stage
    stage.publish(10, "orders")
    broker.pause()
    relay = stage.relay()

    def has_begun() -> None:
        assert "session_failed" in relay.output()

    eventually(has_begun, 20)
    assert ended(relay, signal.SIGTERM) < 10
    assert stage.checkpoints() == 0
