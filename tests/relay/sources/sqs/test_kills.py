"""Relays killed and frozen while a FIFO queue comes in: each message once, each group in order."""

import random
import threading

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.fault_proxy import Refusal, Request
from tests.relay.sources.inward_stage import in_order
from tests.relay.sources.sqs.stage import DELETE, InwardQueues
from tests.relay.sources.sqs.test_intake import numbered

SEED = 21


def play(queues: InwardQueues, messages: int, groups: int, kills: int) -> None:
    chance = random.Random(SEED)
    base = queues.queue()
    queues.take_in_queue(base)
    struck = threading.Lock()
    strikes: list[Program] = []

    def strike(request: Request) -> Refusal | None:
        """Its relay dies between its commit and this request, which does nothing any more."""
        if request.action != DELETE or not struck.acquire(blocking=False):
            return None
        try:
            if not strikes:
                return Refusal("InternalError") if chance.random() < 0.05 else None
            strikes.pop().kill()
            return Refusal("InternalError")
        finally:
            struck.release()

    queues.proxy.refuse = strike
    names = ("a", "b")
    relays = {name: queues.relay(RELAY_NAME=name) for name in names}
    bodies, keys = numbered(messages, groups)
    sending = threading.Thread(target=queues.send, args=(base, bodies), kwargs={"groups": keys})
    sending.start()
    for number in range(kills):
        at_least = messages * (number + 1) // (kills + 2)

        def so_many(at_least: int = at_least) -> None:
            assert queues.state()["entered"] >= at_least

        eventually(so_many, 120)
        name = names[number % 2]
        # Whichever relay deletes next, this one dies before any delete is done.
        strikes.append(relays[name])

        def dead(name: str = name) -> None:
            assert not relays[name].running

        eventually(dead, 30)
        relays[name] = queues.relay(RELAY_NAME=name)
    # One is frozen past the time for which others do not see what it has received.
    relays["a"].pause()
    sending.join()
    queues.query("select pg_sleep(7)")
    relays["a"].resume()
    in_order(queues.all_entered(messages, timeout_seconds=180))

    def nothing_left() -> None:
        assert queues.left() == 0

    eventually(nothing_left, 60)
    assert len(queues.entered()) == messages
    assert queues.state()["entered"] == messages
    assert queues.query("select count(*) from outbox.source_dead_letter") == [(0,)]


@pytest.mark.timeout(240)
@pytest.mark.nightly
def test_kills_between_commit_and_delete_double_and_overtake_nothing(
    queues: InwardQueues,
) -> None:
    play(queues, messages=800, groups=40, kills=2)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_twenty_thousand_messages_enter_once_and_in_order_through_kills(
    queues: InwardQueues,
) -> None:
    play(queues, messages=20_000, groups=500, kills=8)
