"""Relays that die, freeze or lose their wire: nothing is lost, and what repeats carries its key."""

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.receiver import OK, Reaction, Received, respond
from tests.relay.push.conftest import OpenRelay
from tests.relay.push.stage import ALLOWED, Answers, PushRelay, PushStage, inversions
from tests.relay.traps import CHECKPOINT, Trap

pytestmark = pytest.mark.long


@pytest.fixture
def wire(stage: PushStage) -> Iterator[Proxy]:
    """To the stage's database."""
    with Proxy(urlsplit(stage.database_url).port or 5432) as proxy:
        yield proxy


@pytest.fixture
def wired(stage: PushStage, wire: Proxy) -> Iterator[PushRelay]:
    """A relay on that wire."""
    with PushRelay(wire.url(stage.database_url)) as relay:
        yield relay


def settled(stage: PushStage, answers: Answers, relay: PushRelay, *keys: str) -> None:
    """All of it arrived in order, with nothing left over; what was leased need not wait."""
    stage.let_time_pass()
    relay.drain()
    assert set(answers.accepted) == set(keys)
    assert inversions(answers.accepted) == []
    assert stage.rows() == []
    assert relay.probe() == []


def test_a_wire_that_is_cut_at_the_checkpoint_makes_the_run_come_again(
    stage: PushStage, wire: Proxy, wired: PushRelay, open_relay: OpenRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("b:1", respond(500), OK)
    stage.publish("a:1", "a:2", "b:1")
    Trap(wire, CHECKPOINT, wire.cut)
    with pytest.raises(psycopg.Error):
        wired.round()
    assert stage.rows() == []
    settled(stage, answers, open_relay(), "a:1", "a:2", "b:1")
    assert sorted(stage.keys()) == ["a:1", "a:1", "a:2", "a:2", "b:1", "b:1"]


def test_a_commit_whose_answer_is_lost_repeats_nothing(
    stage: PushStage, wire: Proxy, wired: PushRelay, open_relay: OpenRelay
) -> None:
    stage.subscribe()
    stage.receiver.react = answers = Answers().give("b:1", respond(500), OK)
    stage.publish("a:1", "a:2", "b:1")
    Trap(wire, CHECKPOINT, wire.mute)
    faults: list[Exception] = []

    def run() -> None:
        try:
            wired.round()
        except psycopg.Error as fault:
            faults.append(fault)

    running = threading.Thread(target=run)
    running.start()
    eventually(lambda: committed(stage))
    wire.cut()
    running.join(10)
    assert len(faults) == 1
    settled(stage, answers, open_relay(), "a:1", "a:2", "b:1")
    assert sorted(stage.keys()) == ["a:1", "a:2", "b:1", "b:1"]


def committed(stage: PushStage) -> None:
    assert stage.count("select count(*) from outbox.checkpoint where messages > 0") == 1


def test_a_wire_that_is_cut_while_requests_are_in_flight_loses_nothing(
    stage: PushStage, wire: Proxy, wired: PushRelay, open_relay: OpenRelay
) -> None:
    stage.subscribe()
    answers = Answers()

    def cut_at_the_first(request: Received) -> Reaction:
        if len(stage.receiver.requests) == 1:
            wire.cut()
        return answers(request)

    stage.receiver.react = cut_at_the_first
    stage.publish("a:1", "a:2", "b:1")
    with pytest.raises(psycopg.Error):
        wired.round()
    settled(stage, answers, open_relay(), "a:1", "a:2", "b:1")


def test_kills_of_two_relays_lose_nothing_and_keep_the_order(
    stage: PushStage, spawn: Spawn
) -> None:
    stage.subscribe(shards=2, timeout_seconds=1)
    answers = Answers()

    def one_of_ten_fails(request: Received) -> Reaction:
        return respond(500) if len(stage.receiver.requests) % 10 == 0 else answers(request)

    stage.receiver.react = one_of_ten_fails
    environment = {"DATABASE_URL": stage.database_url, **ALLOWED}
    relays = [
        spawn("outbox-relay", "run", environment=environment | {"RELAY_NAME": name})
        for name in ("a", "b")
    ]
    keys = [f"g{group}:{number}" for number in range(1, 11) for group in range(60)]
    for part in range(2):
        stage.publish(*keys[part * 300 : (part + 1) * 300])
        stage.receiver.wait(part * 300 + 100, 30)
        victim = relays[part % 2]
        victim.kill()
        victim.launch()

    def through() -> None:
        assert set(answers.accepted) == set(keys)
        assert stage.rows() == []

    eventually(through, timeout_seconds=60)
    assert inversions(answers.accepted) == []
    for request in stage.receiver.requests:
        assert request.header("idempotency-key").encode() in request.body
    # Of what was in flight at a kill, or acknowledged since the last checkpoint, and no more.
    assert len(answers.accepted) - len(keys) < 2 * 300
