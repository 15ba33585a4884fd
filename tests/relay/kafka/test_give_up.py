"""A run that is given up: nothing of it may still be on its way when the cursor is let go."""

import threading
import time

import pytest

from tests.eventually import eventually
from tests.relay.wires import Wires

pytest_plugins = ["tests.relay.stage_fixtures"]

MESSAGES, SIZE = 10_000, 1_500
RUN_BYTES = MESSAGES * SIZE
# What weighs less is no batch of messages.
BATCH_BYTES = 2_000
SILENT_SECONDS = 1.0


class Traffic:
    """Watches a wire: how many bytes of batches went over it, and when the last did."""

    def __init__(self) -> None:
        self.bytes = 0
        self.listen()

    def listen(self) -> None:
        """Counts the silence from now on."""
        self._last_at = time.monotonic()

    def __call__(self, data: bytes) -> None:
        if len(data) > BATCH_BYTES:
            self.bytes += len(data)
            self._last_at = time.monotonic()

    def silent(self) -> None:
        """Raises AssertionError until nothing was sent for a second."""
        assert time.monotonic() - self._last_at > SILENT_SECONDS


@pytest.mark.long
def test_what_is_given_up_is_thrown_away_before_the_cursor_is_let_go(wires: Wires) -> None:
    stage = wires.stage
    stage.create_topic("orders")
    stage.publish(MESSAGES, "orders", size=SIZE)
    traffic, gives_up, may_go = Traffic(), threading.Event(), threading.Event()

    def hold_back(data: bytes) -> None:
        # Of the transaction, and not to where a stream began.
        if b"rollback\0" in data and not gives_up.is_set():
            gives_up.set()
            may_go.wait(30)

    def deafen(data: bytes) -> None:
        traffic(data)
        if traffic.bytes:
            wires.kafka.mute()

    # The broker gets what a producer sends ahead of its acknowledgements, a part of the run.
    wires.database.watch, wires.kafka.watch = hold_back, deafen
    relay = wires.relay(RELAY_NAME="a", RELAY_BARRIER_SECONDS="1")
    assert gives_up.wait(30)
    # It still holds its cursor, and now it could send the rest.
    wires.kafka.watch = traffic
    wires.kafka.flow()
    traffic.listen()
    eventually(traffic.silent, 20)
    assert 0 < traffic.bytes < RUN_BYTES / 2
    stage.relay(RELAY_NAME="b")
    may_go.set()
    stage.publish(100, "orders")
    stage.all_arrived("orders")
    assert relay.running
