"""Requests of one queue: no more than its threads take, and none that costs a message an attempt
which was not made.
"""

import threading

import pytest

from relay.push.sqs import session
from tests.eventually import eventually
from tests.fault_proxy import SEND, Request
from tests.relay.push.sqs.stage import QueueStage
from tests.relay.push.stage import LATER, PushRelay

EACH = 10


def test_what_no_thread_was_free_for_has_had_no_attempt(
    queues: QueueStage, relay: PushRelay
) -> None:
    let_go = threading.Event()
    sent: list[Request] = []

    def hang(request: Request) -> None:
        if request.action == SEND:
            sent.append(request)
            let_go.wait(60)

    queues.proxy.before = hang
    queues.connect(concurrency=20 * EACH, timeout_seconds=1, retry=LATER)
    keys = [f"g{number}:1" for number in range(20 * EACH)]
    queues.stage.publish(*keys)
    relay.round()
    eventually(lambda: _none_in_flight(queues), timeout_seconds=20)
    let_go.set()
    tried = [attempts for _, attempts, _ in queues.stage.rows() if attempts]
    # A thread whose request has timed out is free for the next, where the run goes on so long.
    assert len(tried) <= len(sent) * EACH
    queues.proxy.before = lambda _: None
    for _ in range(3):
        queues.stage.let_time_pass()
        relay.drain()
    # A queue of FIFO takes each once, though the requests that hung arrive as well.
    assert sorted(one.key for one in queues.arrived()) == sorted(keys)


def _none_in_flight(queues: QueueStage) -> None:
    assert not [key for key, _, state in queues.stage.rows() if state == "in flight"]


def test_threads_that_have_nothing_to_send_end(
    queues: QueueStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.05)
    others = threading.enumerate()
    queues.connect()
    queues.stage.publish(*(f"g{number}:1" for number in range(30)))
    relay.drain()
    eventually(lambda: _no_thread_of_a_queue(others))
    queues.stage.publish("a:1")
    relay.drain()
    assert len(queues.arrived()) == 31


def _no_thread_of_a_queue(others: list[threading.Thread]) -> None:
    now = threading.enumerate()
    assert not [one for one in now if one.name == "queue" and one not in others]


def test_a_host_without_threads_costs_no_message_an_attempt(
    queues: QueueStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(session, "IDLE_SECONDS", 0.05)
    others = threading.enumerate()
    queues.connect(timeout_seconds=1)
    queues.stage.publish("opened:1")
    relay.drain()
    eventually(lambda: _no_thread_of_a_queue(others))
    queues.stage.publish("a:1", "b:1", "a:2")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        relay.round()
    eventually(lambda: _none_in_flight(queues), timeout_seconds=20)
    assert not [attempts for _, attempts, _ in queues.stage.rows() if attempts]
    queues.stage.let_time_pass()
    relay.drain()
    assert sorted(one.key for one in queues.arrived()) == ["a:1", "a:2", "b:1", "opened:1"]
