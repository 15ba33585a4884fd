"""What one endpoint does to its connections is no other endpoint's failure, and no message's."""

import asyncio

import pytest

from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.pool import Pool
from relay.push.requests import loop, sending
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.receiver import OK, Connection, endless, hang, respond
from tests.relay.push.stage import ALLOWED, NEVER_OPENS, Answers, PushRelay, PushStage

MANY = [f"m{number}:1" for number in range(200)]


@pytest.fixture
def relayed(stage: PushStage, spawn: Spawn) -> None:
    """A real relay works on the stage's database."""
    stage.db.execute("update outbox.subscription set paused = true where kind = 'kafka'")
    spawn("outbox-relay", "run", environment={"DATABASE_URL": stage.database_url, **ALLOWED})


@pytest.mark.long
@pytest.mark.parametrize(
    "hostile",
    [
        endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 100),
        endless(b"HTTP/1.1 503 No\r\n", b"X-More: and more\r\n" * 1000),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 9000),
        endless(OK, OK * 1000),
        endless(b"", b"\xff" * 65_536),
    ],
    ids=["1xx", "headers", "chunk extensions", "answers", "noise"],
)
def test_an_endpoint_that_floods_its_connections_stops_no_other(
    stage: PushStage, relayed: None, hostile: object
) -> None:
    stage.receiver.paths["/flood"] = hostile  # type: ignore[assignment]
    stage.subscribe("flood", concurrency=32)
    stage.subscribe("billing", concurrency=8)
    stage.publish(*MANY)

    def all_came() -> None:
        assert sorted(stage.keys("billing")) == sorted(MANY)

    eventually(all_came, 60)


async def one_and_another(connection: Connection) -> None:
    """Answers, and once more a moment later, as if the next request had come."""
    connection.write(OK)
    await asyncio.sleep(0.002)
    connection.write(OK)


def test_a_stray_answer_acknowledges_no_message(stage: PushStage, relayed: None) -> None:
    stage.receiver.react = one_and_another
    stage.subscribe(concurrency=4)
    for place in range(0, len(MANY), 20):
        stage.publish(*MANY[place : place + 20])

    def all_arrived() -> None:
        assert stage.count("select count(*) from outbox.attempt where error is null") == len(MANY)

    eventually(all_arrived, 60)
    assert sorted(set(stage.keys())) == sorted(MANY)


def test_two_endpoints_that_hang_leave_connections_to_a_third(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.5)
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.05)
    monkeypatch.setattr(loop, "raise_limit", lambda: loop.OTHER_DESCRIPTORS + 20 + 60)
    stage.receiver.paths |= {"/a": hang, "/b": hang}
    for name in ("a", "b"):
        stage.subscribe(name, concurrency=1000, timeout_seconds=60)
    stage.subscribe("good", breaker={"minimum": 1, "threshold": 0.01})
    stage.publish(*MANY)
    with PushRelay(stage.database_url) as relay:
        for cursor in relay.probe():
            relay.run(cursor)
        for cursor in relay.probe():
            if cursor.subscription == "good":
                relay.run(cursor)
        assert sorted(stage.keys("good")) == sorted(MANY)
    assert stage.breaker("good") == "closed"


def failing(fault: Fault) -> object:
    async def open_nothing(*_: object) -> object:
        raise fault

    return open_nothing


def test_a_relay_that_can_open_no_connection_uses_no_attempt_and_opens_no_breaker(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(breaker={"minimum": 1, "threshold": 0.01})
    stage.publish("a:1", "a:2", "b:1")
    with monkeypatch.context() as broken:
        broken.setattr(Pool, "open", failing(NoConnectionError("too many open files")))
        for cursor in relay.probe():
            ran = relay.run(cursor)
            assert ran is not None
            assert ran.blocked
    assert (stage.rows(), stage.breaker(), stage.keys()) == ([], "closed", [])
    assert stage.count("select count(*) from outbox.attempt") == 0
    relay.drain()
    assert sorted(stage.keys()) == ["a:1", "a:2", "b:1"]


def test_the_same_is_true_of_what_has_failed_before(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(breaker=NEVER_OPENS)
    stage.receiver.react = Answers().give("a:1", respond(500), OK)
    stage.publish("a:1", "a:2")
    relay.round()
    before = stage.rows()
    with monkeypatch.context() as broken:
        broken.setattr(Pool, "take", lambda *_: None)
        broken.setattr(Pool, "open", failing(NoConnectionError("too many open files")))
        relay.drain()
    assert stage.rows() == before
    relay.drain()
    assert (stage.rows(), stage.keys()) == ([], ["a:1", "a:1", "a:2"])


def test_the_probe_of_an_open_breaker_that_found_no_connection_was_none(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(breaker={"minimum": 1, "threshold": 0.01, "cool_down_seconds": 600})
    stage.receiver.react = answers = Answers()
    answers.give("a:1", respond(500), OK)
    stage.publish("a:1", "b:1")
    relay.round()
    assert stage.breaker() == "open"
    stage.cool_down()
    with monkeypatch.context() as broken:
        broken.setattr(Pool, "take", lambda *_: None)
        broken.setattr(Pool, "open", failing(NoConnectionError("too many open files")))
        relay.round()
    # Not for another cool-down: the endpoint was not asked.
    assert stage.breaker() == "half-open"
    relay.drain()
    assert stage.breaker() == "closed"
