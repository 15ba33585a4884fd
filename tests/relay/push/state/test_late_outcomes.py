"""Requests that outlive their run: leased, and finished by the next holder of the cursor."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from relay.daemon import relay as daemon
from relay.log.cursor import Cursor
from relay.log.probe import probe
from relay.monitoring.telemetry import Telemetry
from relay.push.requests import sending
from relay.push.state import rows
from tests.eventually import eventually
from tests.receiver import OK, Connection, Reaction, respond
from tests.relay.operating import settings
from tests.relay.push.stage import ALLOWED, LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

NO = respond(500)
OpenRelay = Callable[[], PushRelay]


def impatient_round(relay: PushRelay) -> None:
    """One whose runs don't wait for what they have sent, so that it outlives them."""
    with pytest.MonkeyPatch.context() as impatience:
        impatience.setattr(sending, "FEED_SECONDS", 0.5)
        impatience.setattr(sending, "TAIL_SECONDS", 0.0)
        relay.round()


class Held:
    """A reaction that waits until it is released, and how many wait."""

    def __init__(self) -> None:
        self._released = threading.Event()
        self._answer = OK

    async def react(self, connection: Connection) -> None:
        await asyncio.to_thread(self._released.wait, 10)
        await connection.perform(self._answer)

    def release(self, answer: bytes = OK) -> None:
        self._answer = answer
        self._released.set()


def in_flight(stage: PushStage, relay: PushRelay, *after: Reaction, **settings: Any) -> Held:
    """The request for a:1 outlives the run of `relay`; then `after` is given. a:2 is in the log."""
    held = Held()
    stage.subscribe(**settings)
    stage.receiver.react = Answers().give("a:1", held.react, *after)
    stage.publish("a:1", "a:2")
    impatient_round(relay)
    stage.receiver.wait(1)
    assert stage.rows() == [("a:1", 0, "in flight")]
    return held


def states(stage: PushStage, *expected: tuple[str, int, str]) -> None:
    def there() -> None:
        assert stage.rows() == list(expected)

    eventually(there)


def test_what_is_in_flight_is_leased_and_no_other_relay_sends_it(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    held = in_flight(stage, relay, timeout_seconds=20)
    lease = one(
        stage.db,
        "select extract(epoch from max(due_at) - clock_timestamp())::float8 from outbox.delivery",
    )
    assert 20 < lease <= 22
    open_relay().drain()
    assert stage.keys() == ["a:1"]
    assert stage.rows() == [("a:1", 0, "in flight"), ("a:2", 0, "behind")]
    held.release()


def test_another_relay_finishes_what_was_acknowledged_late(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    in_flight(stage, relay).release()
    states(stage, ("a:1", 1, "acked"))
    open_relay().drain()
    assert (stage.keys(), stage.rows()) == (["a:1", "a:2"], [])
    assert one(stage.db, "select sum(messages) from outbox.checkpoint") == 2


def test_once_finishes_what_lands_just_after_it_looked(
    stage: PushStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held()
    stage.subscribe()
    stage.receiver.react = held.react
    stage.publish("a:1")
    monkeypatch.setattr(sending, "TAIL_SECONDS", 0.0)

    def look(*arguments: Any, **options: Any) -> list[Cursor]:
        found = probe(*arguments, **options)
        if not found and stage.rows() == [("a:1", 0, "in flight")]:
            held.release()
            states(stage, ("a:1", 1, "acked"))
        return found

    monkeypatch.setattr(daemon, "probe", look)
    given = settings(stage.database_url, **ALLOWED)
    assert daemon.run(given, Telemetry(), threading.Event(), once=True) == 0
    assert (stage.keys(), stage.rows()) == (["a:1"], [])


def test_a_late_failure_is_one_attempt_and_its_group_waits(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    held = in_flight(stage, relay, OK, retry=LATER)
    held.release(NO)
    states(stage, ("a:1", 1, "retry"))
    open_relay().drain()
    assert stage.keys() == ["a:1"]
    stage.let_time_pass()
    open_relay().drain()
    assert (stage.keys(), stage.rows()) == (["a:1", "a:1", "a:2"], [])


def test_what_failed_late_for_the_last_time_becomes_a_dead_letter_and_its_group_goes_on(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    held = in_flight(stage, relay, retry={"schedule_seconds": []})
    held.release(NO)
    states(stage, ("a:1", 1, "dead"))
    open_relay().drain()
    assert stage.dead_letters() == [("a:1", "http_500", "1 attempts", 1, False, False)]
    assert (stage.keys(), stage.rows()) == (["a:1", "a:2"], [])


@pytest.mark.parametrize("cleared", [True, False])
@pytest.mark.parametrize("failures", [0, 2])
def test_a_dead_letter_that_is_acknowledged_late_counts_each_attempt_once(
    stage: PushStage,
    relay: PushRelay,
    monkeypatch: pytest.MonkeyPatch,
    cleared: bool,
    failures: int,
) -> None:
    stage.subscribe(retry={"schedule_seconds": [0] * 3, "jitter": 0})
    stage.receiver.react = answers = Answers().give("a:1", NO)
    stage.publish("a:1")
    relay.drain()
    assert stage.dead_letters() == [("a:1", "http_500", "4 attempts", 4, False, False)]
    held = Held()
    answers.give("a:1", *[NO] * failures, held.react)
    stage.db.execute("select outbox.redrive(array(select id from outbox.dead_letter))")
    for _ in range(failures):
        relay.round()
    impatient_round(relay)
    assert stage.rows() == [("a:1", failures, "in flight")]
    held.release()
    states(stage, ("a:1", failures + 1, "acked"))
    if not cleared:
        # As if it came right after the others of its kind were cleared.
        monkeypatch.setattr(rows, "CLEAR_ACKED", "select 0 from (select %s::bigint) as none")
    relay.round()
    assert stage.rows() == []
    assert stage.dead_letters() == [("a:1", "http_500", "4 attempts", 5 + failures, True, True)]


def test_an_outcome_after_its_lease_changes_nothing_of_what_another_relay_did(
    stage: PushStage, relay: PushRelay, open_relay: OpenRelay
) -> None:
    again = Held()
    held, other = in_flight(stage, relay, again.react), open_relay()
    stage.let_time_pass()
    impatient_round(other)
    stage.receiver.wait(2)
    assert stage.keys() == ["a:1", "a:1"]
    held.release()
    relay.end()
    # The other relay's request is the one that counts.
    assert stage.rows() == [("a:1", 0, "in flight"), ("a:2", 0, "behind")]
    again.release()
    states(stage, ("a:1", 1, "acked"), ("a:2", 0, "behind"))


def test_when_every_slot_hangs_the_backlog_stays_in_the_log(
    stage: PushStage, relay: PushRelay
) -> None:
    held = Held()
    stage.subscribe(concurrency=2)
    stage.receiver.react = held.react
    stage.publish("a:1", "b:1", "c:1", "a:2", "c:2")
    for _ in range(3):
        impatient_round(relay)
    stage.receiver.wait(2)
    assert sorted(stage.keys()) == ["a:1", "b:1"]
    assert [row for row in stage.rows() if row[0][0] == "c"] == []
    held.release()
    eventually(lambda: drained(stage, relay))
    assert sorted(set(stage.keys())) == ["a:1", "a:2", "b:1", "c:1", "c:2"]


def drained(stage: PushStage, relay: PushRelay) -> None:
    relay.drain()
    assert stage.rows() == []
    assert relay.probe() == []


def test_late_failures_open_the_breaker(stage: PushStage, relay: PushRelay) -> None:
    held = Held()
    stage.subscribe(breaker={"minimum": 3, "cool_down_seconds": 600}, retry=LATER)
    stage.receiver.react = held.react
    stage.publish("a:1", "b:1", "c:1")
    impatient_round(relay)
    held.release(NO)
    states(stage, ("a:1", 1, "retry"), ("b:1", 1, "retry"), ("c:1", 1, "retry"))
    stage.publish("d:1")
    relay.round()
    assert (stage.breaker(), len(stage.keys())) == ("open", 3)


def test_a_late_410_disables(stage: PushStage, relay: PushRelay) -> None:
    in_flight(stage, relay).release(respond(410))
    states(stage, ("a:1", 0, "retry"))
    assert one(stage.db, "select paused_reason from outbox.subscription").startswith("410 Gone")


@pytest.mark.parametrize("acked", [True, False])
def test_a_probe_that_outlives_its_run_decides_the_breaker(
    stage: PushStage,
    relay: PushRelay,
    open_relay: OpenRelay,
    acked: bool,
) -> None:
    stage.subscribe(breaker={"minimum": 1, "cool_down_seconds": 600})
    stage.receiver.react = NO
    stage.publish("a:1")
    relay.round()
    assert stage.breaker() == "open"
    held = Held()
    stage.receiver.react = held.react
    stage.publish("b:1")
    stage.cool_down()
    impatient_round(relay)
    open_relay().round()
    stage.receiver.wait(2)
    assert len(stage.keys()) == 2
    held.release(OK if acked else NO)
    relay.end()
    assert stage.breaker() == ("closed" if acked else "open")
    # One at a:1, and the probe.
    assert sum(attempts for _, attempts, _ in stage.rows()) == 2


def test_a_row_whose_message_is_gone_does_not_keep_its_group(
    stage: PushStage, relay: PushRelay
) -> None:
    """Nothing takes a message that a row needs; where it was taken by hand, its group goes on."""
    stage.subscribe()
    stage.receiver.react = Answers().give("a:1", NO)
    stage.publish("a:1", "a:2")
    relay.round()
    stage.db.execute("delete from outbox.message where idempotency_key = 'a:1'")
    relay.drain()
    stage.publish("a:3")
    relay.drain()
    assert stage.keys() == ["a:1", "a:2", "a:3"]


WAITS = """
    select extract(epoch from due_at - clock_timestamp())::float8 from outbox.delivery
    where attempts = 1
"""


def test_what_fails_late_waits_by_the_schedule_of_now(stage: PushStage, relay: PushRelay) -> None:
    held = in_flight(stage, relay, retry=LATER)
    stage.settle("billing", retry={"schedule_seconds": [30], "jitter": 0})
    relay.drain()
    held.release(NO)
    states(stage, ("a:1", 1, "retry"), ("a:2", 0, "behind"))
    assert 20 < one(stage.db, WAITS) <= 30


def test_what_fails_late_before_a_change_is_made_waits_by_it_and_not_twice(
    stage: PushStage, relay: PushRelay
) -> None:
    held = in_flight(stage, relay, retry=LATER)
    stage.settle("billing", retry={"schedule_seconds": [3600], "jitter": 0})
    held.release(NO)
    states(stage, ("a:1", 1, "retry"))
    relay.drain()
    assert 3590 < one(stage.db, WAITS) <= 3600


def test_what_fails_late_has_the_attempts_of_the_schedule_of_now(
    stage: PushStage, relay: PushRelay
) -> None:
    held = in_flight(stage, relay, retry=LATER)
    stage.settle("billing", retry={"schedule_seconds": []})
    relay.drain()
    held.release(NO)
    states(stage, ("a:1", 1, "dead"), ("a:2", 0, "behind"))
    relay.drain()
    assert stage.dead_letters() == [("a:1", "http_500", "1 attempts", 1, False, False)]
