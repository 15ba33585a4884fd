"""What another session holds of one subscription keeps no outcome of another one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, LiteralString

import psycopg
import pytest
from prometheus_client import generate_latest

from relay.push.state import late_outcomes, writer
from relay.push.state.late_outcomes import Late
from tests.eventually import eventually
from tests.receiver import OK, Reaction, Received, respond
from tests.relay.push.stage import PushRelay, PushStage
from tests.relay.push.state.test_late_outcomes import Held, impatient_round
from tests.sql.log import Session, one

ROW: LiteralString = """
    select from outbox.delivery join outbox.cursor on cursor.id = delivery.cursor_id
    join outbox.subscription on subscription.id = cursor.subscription_id
    where name = 'held' for update of delivery
"""
SUBSCRIPTION: LiteralString = (
    "select from outbox.subscription where name = 'held' for no key update"
)
BUDGET: LiteralString = """
    select from outbox.answer_budget join outbox.subscription on id = subscription_id
    where name = 'held' for update of answer_budget
"""
BREAKER: LiteralString = """
    select from outbox.breaker join outbox.subscription on id = subscription_id
    where name = 'held' for update of breaker
"""
STATE = """
    select case when token is not null then 'in flight' else coalesce(outcome, 'retry') end
    from outbox.delivery join outbox.cursor on cursor.id = delivery.cursor_id
    join outbox.subscription on subscription.id = cursor.subscription_id
    where name = %s and message_id = (select max(message_id) from outbox.delivery)
"""


@pytest.fixture
def other(stage: PushStage) -> Iterator[Session]:
    """Another session, whose locks last until it rolls back."""
    with psycopg.connect(stage.database_url) as session:
        yield session
        session.rollback()


def state(stage: PushStage, name: str, expected: str) -> None:
    def there() -> None:
        assert one(stage.db, STATE, name) == expected

    eventually(there)


class Both:
    """Requests of two subscriptions that outlive their run, each held until it is released."""

    def __init__(self, stage: PushStage) -> None:
        """Answers from now on."""
        self.answers = {"held": Held(), "free": Held()}
        stage.receiver.react = self

    def __call__(self, request: Received) -> Reaction:
        return self.answers[request.path.strip("/")].react


@pytest.mark.parametrize(
    ("lock", "answer", "outcome"),
    [
        (ROW, OK, "acked"),
        (SUBSCRIPTION, respond(410), "retry"),
        (BUDGET, respond(500), "retry"),
    ],
    ids=["row", "subscription", "budget"],
)
def test_what_is_held_of_one_subscription_keeps_no_outcome_of_another(
    stage: PushStage,
    relay: PushRelay,
    other: Session,
    lock: LiteralString,
    answer: bytes,
    outcome: str,
) -> None:
    both = Both(stage)
    for name in both.answers:
        stage.subscribe(name)
    stage.publish("a:1")
    impatient_round(relay)
    stage.receiver.wait(2)
    other.execute(lock)
    both.answers["held"].release(answer)
    both.answers["free"].release()
    state(stage, "free", "acked")
    state(stage, "held", "in flight")
    other.rollback()
    state(stage, "held", outcome)


def test_a_held_breaker_keeps_no_outcome_of_another(
    stage: PushStage, relay: PushRelay, other: Session
) -> None:
    both = Both(stage)
    stage.subscribe("held", breaker={"minimum": 1, "cool_down_seconds": 600})
    stage.receiver.react = respond(500)
    stage.publish("a:1")
    relay.round()
    assert stage.breaker("held") == "open"
    stage.receiver.react = both
    stage.subscribe("free")
    stage.publish("b:1")
    stage.cool_down()
    impatient_round(relay)
    stage.receiver.wait(3)
    other.execute(BREAKER)
    both.answers["held"].release()
    both.answers["free"].release()
    state(stage, "free", "acked")
    assert stage.breaker("held") == "open"
    other.rollback()
    eventually(lambda: closed(stage))


def closed(stage: PushStage) -> None:
    assert stage.breaker("held") == "closed"


def test_whose_outcomes_are_held_up_is_told(
    stage: PushStage, relay: PushRelay, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HELD_SECONDS", 0.0)
    both = Both(stage)
    stage.subscribe("held")
    stage.publish("a:1")
    impatient_round(relay)
    stage.receiver.wait(1)
    other.execute(ROW)
    both.answers["held"].release()

    def told() -> None:
        faults = generate_latest(relay.telemetry.registry).decode()
        assert 'outbox_relay_faults_total{kind="outcomes",subscription="held"} 1.0' in faults

    eventually(told)


def test_what_was_held_is_tried_again_though_others_come_all_the_while(
    stage: PushStage, relay: PushRelay, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its lease would run out, and its message would go twice."""
    put, came = writer.Writer.put, list[Late]()

    def note(self: writer.Writer, one: Late) -> None:
        came.append(one)
        put(self, one)

    monkeypatch.setattr(writer.Writer, "put", note)
    both = Both(stage)
    for name in both.answers:
        stage.subscribe(name)
    stage.publish("a:1")
    impatient_round(relay)
    stage.receiver.wait(2)
    other.execute(ROW)
    both.answers["free"].release()
    state(stage, "free", "acked")
    both.answers["held"].release()
    eventually(lambda: is_kept(relay))
    other.rollback()

    def written_while_others_come() -> None:
        put(relay.request_loop._writer, came[0])
        assert one(stage.db, STATE, "held") == "acked"

    eventually(written_while_others_come)


def test_what_is_held_at_a_stop_is_tried_again_for_as_long_as_that_takes(
    stage: PushStage, relay: PushRelay, other: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, write = threading.Event(), late_outcomes.write

    def note(*given: Any) -> list[Late]:
        held = write(*given)
        if closing.is_set():
            tried.set()
        return held

    monkeypatch.setattr(late_outcomes, "write", note)
    closing = threading.Event()
    both = Both(stage)
    stage.subscribe("held")
    stage.publish("a:1")
    impatient_round(relay)
    stage.receiver.wait(1)
    other.execute(ROW)
    both.answers["held"].release()
    eventually(lambda: is_kept(relay))
    closing.set()
    with ThreadPoolExecutor() as thread:
        end = thread.submit(relay.end)
        assert tried.wait(5)
        other.rollback()
        end.result(5)
    assert one(stage.db, STATE, "held") == "acked"


def is_kept(relay: PushRelay) -> None:
    """Raises AssertionError unless an outcome waits for what another session holds."""
    assert relay.request_loop._writer._held


WAITS = "select cardinality(pg_blocking_pids(%s)) > 0"


def test_the_rows_of_a_subscription_are_free_while_its_dead_letters_are_deleted(
    stage: PushStage, relay: PushRelay, other: Session
) -> None:
    """Of a deletion that takes its time, and may come to nothing, late outcomes are written."""
    subscription_id = stage.subscribe("held", retry={"schedule_seconds": []})
    stage.receiver.react = respond(500)
    stage.publish("a:1")
    relay.drain()
    both = Both(stage)
    stage.publish("b:1")
    impatient_round(relay)
    stage.receiver.wait(2)
    other.execute("select from outbox.dead_letter for update")
    with psycopg.connect(stage.database_url) as deleting, ThreadPoolExecutor() as thread:
        delete = "select outbox.unsubscribe(%s, true)"
        deletion = thread.submit(deleting.execute, delete, [subscription_id])

        def is_at_the_dead_letters() -> None:
            assert one(stage.db, WAITS, deleting.info.backend_pid)

        try:
            eventually(is_at_the_dead_letters)
            both.answers["held"].release()
            state(stage, "held", "acked")
        finally:
            other.rollback()
        deletion.result(10)
        deleting.commit()
    assert one(stage.db, "select count(*) from outbox.delivery") == 0


def test_a_rate_that_another_session_holds_is_not_waited_for(
    stage: PushStage, relay: PushRelay, other: Session
) -> None:
    """Who waits keeps a connection that all subscriptions share."""
    stage.subscribe("held", rate_per_second=100)
    stage.publish("a:1")
    # The first run finds out that there is a limit.
    relay.round()
    other.execute("select from outbox.rate_limit for update")
    with ThreadPoolExecutor() as thread:
        try:
            thread.submit(relay.round).result(5)
        finally:
            other.rollback()
    relay.round()
    assert stage.keys() == ["a:1"]
