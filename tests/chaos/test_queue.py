"""A queue that is killed: what its clients know to be in it has been received."""

import threading
from pathlib import Path

import pytest

from local.server import free_port
from tests.chaos.queue import Consumer, Queue
from tests.eventually import eventually

pytestmark = pytest.mark.long


def send(queue: Queue, key: str) -> None:
    queue.ask(
        "SendMessage",
        QueueUrl=queue.address,
        MessageBody="{}",
        MessageGroupId="g",
        MessageDeduplicationId=key,
        MessageAttributes={"idempotency-key": {"DataType": "String", "StringValue": key}},
    )


def test_a_kill_loses_nothing_and_the_queue_is_there_again(tmp_path: Path) -> None:
    stop = threading.Event()
    with Queue.start(tmp_path / "log", port=free_port()) as queue, queue.wire:
        for number in range(25):
            send(queue, f"k{number}")
        queue.kill()
        assert [one.idempotency_key for one in queue.received] == [f"k{n}" for n in range(25)]
        queue.launch()
        consumer = Consumer(queue, stop)
        consumer.start()
        send(queue, "k0")

        def came_again() -> None:
            assert [(one.life, one.idempotency_key) for one in queue.received[25:]] == [(1, "k0")]

        eventually(came_again)
        stop.set()
        consumer.join(10)
        assert consumer.fault is None
