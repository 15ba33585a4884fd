"""A lock on a subscription's row, left behind, lets no run be repeated that could be noted."""

from collections.abc import Callable, Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.eventually import eventually
from tests.receiver import OK, Reaction, respond
from tests.relay.push.stage import Answers, PushRelay, PushStage
from tests.relay.push.state.test_late_outcomes import Held, impatient_round
from tests.sql.log import Session, one

NO = respond(500)
LOCK: LiteralString = "select from outbox.subscription where name = 'billing' for update"
FAILING_FOR_DAYS = "update outbox.breaker set failing_since = now() - interval '5 days 1 second'"
TWICE = {"schedule_seconds": [0], "jitter": 0}
OPENS_AT_TWO = {"minimum": 2, "threshold": 0.5, "cool_down_seconds": 600}


@pytest.fixture
def other(stage: PushStage) -> Iterator[Session]:
    """Another session, whose locks last until it rolls back."""
    with psycopg.connect(stage.database_url) as session:
        yield session
        session.rollback()


@pytest.fixture
def lock(other: Session) -> Callable[[], object]:
    """Locks it there."""
    return lambda: other.execute(LOCK)


def test_a_dead_letter_is_written_and_its_message_not_sent_again(
    stage: PushStage, relay: PushRelay, lock: Callable[[], object]
) -> None:
    stage.subscribe(retry=TWICE)
    stage.receiver.react = Answers().give("a:1", NO)
    stage.publish("a:1")
    lock()
    relay.drain()
    assert stage.keys() == ["a:1", "a:1"]
    assert stage.dead_letters() == [("a:1", "http_500", "2 attempts", 2, False, False)]


@pytest.mark.parametrize(("answer", "state"), [(OK, "closed"), (NO, "open")])
def test_a_breaker_opens_and_each_probe_is_one(
    stage: PushStage,
    relay: PushRelay,
    lock: Callable[[], object],
    answer: Reaction,
    state: str,
) -> None:
    stage.subscribe(breaker=OPENS_AT_TWO)
    stage.receiver.react = answers = Answers().give("a:1", NO)
    stage.publish("a:1")
    lock()
    relay.drain()
    assert (stage.breaker(), stage.keys()) == ("open", ["a:1", "a:1"])
    answers.give("a:1", answer)
    stage.cool_down()
    relay.round()
    assert (stage.breaker(), stage.keys()) == (state, ["a:1", "a:1", "a:1"])


@pytest.mark.parametrize(
    ("answer", "state", "rows"), [(OK, "closed", []), (NO, "open", [("a:1", 3, "retry")])]
)
def test_so_is_a_probe_that_outlives_its_run(
    stage: PushStage,
    relay: PushRelay,
    lock: Callable[[], object],
    answer: bytes,
    state: str,
    rows: list[tuple[str, int, str]],
) -> None:
    stage.subscribe(breaker=OPENS_AT_TWO)
    stage.receiver.react = NO
    stage.publish("a:1")
    relay.drain()
    assert stage.breaker() == "open"
    held = Held()
    stage.receiver.react = held.react
    stage.cool_down()
    impatient_round(relay)
    stage.receiver.wait(3)
    lock()
    held.release(answer)

    def noted() -> None:
        relay.round()
        assert (stage.breaker(), stage.rows()) == (state, rows)

    eventually(noted)
    assert stage.keys() == ["a:1", "a:1", "a:1"]


def test_five_days_of_failures_pause_it_at_the_first_failure_after(
    stage: PushStage, relay: PushRelay, other: Session, lock: Callable[[], object]
) -> None:
    stage.subscribe()
    stage.receiver.react = NO
    stage.publish("a:1")
    relay.round()
    stage.db.execute(FAILING_FOR_DAYS)
    lock()
    relay.round()
    assert stage.rows() == [("a:1", 2, "retry")]
    assert not one(stage.db, "select paused from outbox.subscription")
    other.rollback()
    relay.round()
    assert one(stage.db, "select paused from outbox.subscription")
    assert stage.rows() == [("a:1", 3, "retry")]
