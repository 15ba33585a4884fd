"""A queue that hangs delays nobody else, and its messages are answered for in time."""

import threading
import time

import pytest

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.fault_proxy import SEND, FaultProxy
from tests.relay.push.sqs.stage import QueueStage

pytestmark = pytest.mark.long


def test_others_are_not_delayed_while_a_queue_hangs(queues: QueueStage, spawn: Spawn) -> None:
    let_go = threading.Event()
    keys = [f"g{group}:{number}" for number in range(20) for group in range(50)]
    arrived: list[str] = []

    def through() -> None:
        arrived.extend(one.key for one in queues.arrived("good"))
        assert len(arrived) >= len(keys)

    with FaultProxy(queues.server.port) as hanging:
        hanging.before = lambda request: let_go.wait(60) if request.action == SEND else None
        ports = str(queues.proxy.port), str(hanging.port)
        queues.connect("good")
        queues.server.create_queue(queues.name("bad"))
        url = queues.url("bad").replace(*ports)
        queues.connect("bad", name="bad", make=False, queue_url=url, timeout_seconds=1)
        allowed = queues.environment["RELAY_ALLOW_HOSTS"]
        environment = {
            "DATABASE_URL": queues.database_url,
            **queues.environment,
            "RELAY_ALLOW_HOSTS": f"{allowed},{allowed.replace(*ports)}",
        }
        relay = spawn("outbox-relay", "run", environment=environment)
        queues.stage.publish("warm:1")
        eventually(lambda: _some(queues, "good"), timeout_seconds=20)
        # What it has in flight by now hangs.
        eventually(lambda: _asked(hanging), timeout_seconds=20)
        began_at = time.monotonic()
        queues.stage.publish(*keys)
        eventually(through, timeout_seconds=30)
        seconds = time.monotonic() - began_at
        timeouts = "select count(*) from outbox.attempt where error = 'timeout'"
        eventually(lambda: _more_than(queues.stage.count(timeouts), 0), timeout_seconds=20)
        let_go.set()
        relay.stop()
    assert sorted(arrived) == sorted(keys)
    assert seconds < 15


def _some(queues: QueueStage, base: str) -> None:
    assert queues.arrived(base)


def _asked(proxy: FaultProxy) -> None:
    assert proxy.batches


def _more_than(number: int, least: int) -> None:
    assert number > least
