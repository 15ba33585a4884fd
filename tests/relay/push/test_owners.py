"""What one owner's endpoints do takes no runs, requests or connections from another's."""

import threading

import pytest

from relay.daemon.sessions import Sessions
from relay.log.run import Ran
from relay.process.heartbeat import Heartbeat
from relay.push.fair_turns import Turns
from relay.push.http import resolver
from relay.push.http.client import Client
from relay.push.http.guard import Guard
from relay.push.http.proxy import Proxy
from relay.push.requests import loop, sending
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.receiver import OK, hang
from tests.relay.push.stage import ALLOWED, PushRelay, PushStage

FLOODS = [f"flood{number}" for number in range(30)]


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs outlives its run."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.2)


def flood(stage: PushStage, names: list[str], messages: int) -> None:
    """One key's endpoints that never answer, with all that a key may ask for."""
    for name in names:
        stage.receiver.paths[f"/{name}"] = hang
        stage.subscribe(
            name, types=["flood"], made_by="greedy", concurrency=1000, timeout_seconds=60
        )
    stage.publish(*(f"f{number}:1" for number in range(messages)), type="flood")


@pytest.mark.long
@pytest.mark.parametrize("owner", ["another", None, "greedy"])
def test_endpoints_that_hang_delay_no_other_owners_messages(
    stage: PushStage, spawn: Spawn, owner: str | None
) -> None:
    """Nor the other ones of the same owner."""
    stage.db.execute("update outbox.subscription set paused = true where kind = 'kafka'")
    stage.subscribe("good", types=["order.paid"], made_by=owner)
    flood(stage, FLOODS, 2000)
    environment = {"DATABASE_URL": stage.database_url, "RELAY_PUSH_CONNECTIONS": "2", **ALLOWED}
    spawn("outbox-relay", "run", environment=environment)

    def all_hang() -> None:
        assert all(stage.receiver.received(f"/{name}") for name in FLOODS)

    eventually(all_hang, 60)
    for number in range(20):
        stage.publish(f"g{number}:1")

        def came(key: str = f"g{number}:1") -> None:
            assert key in stage.keys("good")

        eventually(came, 5)


@pytest.mark.long
def test_endpoints_that_hang_leave_connections_to_another_owner(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are few, and however many endpoints they are."""
    monkeypatch.setattr(loop, "raise_limit", lambda: loop.OTHER_DESCRIPTORS + 20 + 60)
    flood(stage, FLOODS[:20], 100)
    stage.subscribe("good", types=["order.paid"], breaker={"minimum": 1, "threshold": 0.01})
    with PushRelay(stage.database_url, RELAY_PUSH_CONNECTIONS="20") as relay:
        for cursor in relay.probe():
            relay.run(cursor)
        stage.publish(*(f"g{number}:1" for number in range(50)))

        def all_came() -> None:
            for cursor in relay.probe():
                if cursor.subscription == "good":
                    relay.run(cursor)
            assert len(stage.keys("good")) == 50

        eventually(all_came)
    assert stage.breaker("good") == "closed"


def test_who_finds_no_place_to_look_its_endpoint_up_has_not_tried(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its places are its key's, not the operator's."""
    monkeypatch.setattr(resolver, "MAX_OF_A_KEY", 0)
    for name, owner in (("limited", "key"), ("good", None)):
        stage.subscribe(name, made_by=owner, timeout_seconds=1, breaker={"minimum": 1})
        stage.settle(name, endpoint=f"http://localhost:{stage.receiver.port}/{name}")
    stage.publish("g:1")
    with PushRelay(stage.database_url) as relay:
        relay.round()
        assert (stage.keys("good"), stage.keys("limited")) == (["g:1"], [])
        assert stage.count("select count(*) from outbox.attempt where error is not null") == 0
        assert stage.breaker("limited") == "closed"
        monkeypatch.setattr(resolver, "MAX_OF_A_KEY", 1)

        def came() -> None:
            relay.round()
            assert stage.keys("limited") == ["g:1"]

        eventually(came)


def test_look_ups_are_counted_among_what_this_process_may_have_open(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = []

    def client(guard: Guard, *, most_connections: int, proxy: Proxy | None) -> Client:
        most.append(most_connections)
        return Client(guard, proxy=proxy, most_connections=most_connections)

    monkeypatch.setattr(loop, "raise_limit", lambda: 1024)
    monkeypatch.setattr(loop, "Client", client)
    with PushRelay(stage.database_url, RELAY_PUSH_CONNECTIONS="20"):
        assert most[0] + resolver.MAX_LOOK_UPS + 20 < 1024


@pytest.mark.long
def test_a_run_that_could_send_nothing_takes_no_connection_again(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "raise_limit", lambda: loop.OTHER_DESCRIPTORS + 20 + 16)
    flood(stage, FLOODS[:16], 100)
    with PushRelay(stage.database_url, RELAY_PUSH_CONNECTIONS="20") as relay:
        ran = {cursor.subscription: relay.run(cursor) for cursor in relay.probe()}
        stuck = next(name for name, one in ran.items() if one is not None and not one.progressed)
        (cursor,) = (one for one in relay.probe() if one.subscription == stuck)
        with monkeypatch.context() as broken:
            broken.setattr(relay.connections, "getconn", None)
            again = relay.run(cursor)
        assert again is not None
        assert again.blocked


def test_a_run_whose_requests_all_hang_gives_its_connection_to_who_waits_for_one(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 25.0)
    flood(stage, ["flood"], 10)
    stage.settle("flood", concurrency=2)
    stage.subscribe("good", types=["order.paid"])
    stage.publish("g:1")
    with PushRelay(stage.database_url, RELAY_PUSH_CONNECTIONS="1") as relay:
        hanging, good = sorted(relay.probe(), key=lambda cursor: cursor.subscription == "good")
        run = threading.Thread(target=relay.run, args=[hanging])
        run.start()

        def hangs() -> None:
            assert len(stage.receiver.received("/flood")) == 2

        eventually(hangs)
        next_run = threading.Thread(target=relay.run, args=[good])
        next_run.start()

        def came() -> None:
            assert stage.keys("good") == ["g:1"]

        eventually(came)
        run.join()
        next_run.join()


@pytest.mark.parametrize("which", ["turns", "working"])
def test_a_relay_that_stops_keeps_no_owner_waiting_for_a_turn(stage: PushStage, which: str) -> None:
    stage.subscribe("good")
    stage.publish("g:1")
    with PushRelay(stage.database_url, RELAY_PUSH_CONNECTIONS="1") as relay:
        (cursor,) = relay.probe()
        sessions = Sessions(relay.settings, relay.telemetry, threading.Event())
        ran: list[Ran] = []
        with sessions.open([cursor], Heartbeat()) as runs:
            request_loop, _ = sessions._shared()
            turns: Turns = getattr(request_loop, which)
            assert turns.ask("another").result()
            waits = threading.Thread(
                target=lambda: ran.extend(runs.run([cursor], 1, again=False).values())
            )
            waits.start()

            def is_waiting() -> None:
                assert turns.are_awaited

            eventually(is_waiting)
            sessions.stop()
            waits.join()
        sessions.close(0.5)
    assert ran == [Ran(blocked=True)]
    assert stage.keys() == []


def test_of_a_key_two_runs_work_at_once_and_those_that_wait_for_answers_are_none(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 25.0)
    stage.subscribe("greedy", types=["flood"], made_by="greedy", concurrency=2)
    stage.subscribe("good", types=["order.paid"], made_by="good")
    stage.publish("f:1", type="flood")
    stage.publish("g:1")
    with PushRelay(stage.database_url) as relay:
        working = relay.request_loop.working
        # Whose they are is known from the first run on.
        relay.round()
        held = [working.ask("greedy").result() for _ in range(loop.WORKING_OF_A_KEY)]
        stage.receiver.paths["/greedy"] = hang
        stage.publish("f:2", "f:3", type="flood")
        stage.publish("g:2")
        greedy, good = sorted(relay.probe(), key=lambda cursor: cursor.subscription == "good")
        run = threading.Thread(target=relay.run, args=[greedy])
        run.start()
        relay.run(good)
        assert (stage.keys("good"), stage.keys("greedy")) == (["g:1", "g:2"], ["f:1"])
        for _ in held:
            working.end("greedy")

        def hangs() -> None:
            assert stage.keys("greedy") == ["f:1", "f:2"]

        eventually(hangs)
        # What waits for an answer works on nothing.
        assert all(working.ask("greedy").done() for _ in held)
        for _ in held:
            working.end("greedy")
        stage.receiver.paths["/greedy"] = OK
        for connection in stage.receiver.open.copy():
            connection.close()
        run.join()
