"""After a repair a retry ends the wait at once, and a new schedule is in force at once."""

import random
from collections.abc import Callable

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from relay.log.run import Ran
from relay.push.policy.schedule import Retry, delay_seconds
from relay.push.state import rows
from tests.receiver import OK, Reaction, Received, respond
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

RETRY = "select outbox.retry('billing', %s)"
WAITS = """
    select extract(epoch from due_at - clock_timestamp())::float8 from outbox.delivery
    where attempts > 0 order by message_id
"""


@pytest.fixture
def failed(stage: PushStage, relay: PushRelay) -> Answers:
    """Two groups whose heads wait ten minutes for their second attempt."""
    stage.subscribe(retry=LATER)
    stage.receiver.react = answers = Answers()
    for key in ("a:1", "b:1"):
        answers.give(key, respond(503))
    stage.publish("a:1", "a:2", "b:1", "a:3", "b:2")
    relay.drain()
    for key in ("a:1", "b:1"):
        answers.give(key, OK)
    return answers


def after(seconds: int) -> dict[str, object]:
    """Settings of the second and last attempt."""
    return {"schedule_seconds": [seconds], "jitter": 0}


def waits(stage: PushStage) -> list[float]:
    """For how long each failed message waits yet, in seconds."""
    return [seconds for (seconds,) in stage.db.execute(WAITS).fetchall()]


def test_what_waits_for_its_next_attempt_goes_now_and_in_order(
    stage: PushStage, relay: PushRelay, failed: Answers
) -> None:
    assert one(stage.db, RETRY, None) == 2
    assert one(stage.db, RETRY, None) == 0
    relay.drain()
    assert [key for key in failed.accepted if key[0] == "a"] == ["a:1", "a:2", "a:3"]
    assert [key for key in failed.accepted if key[0] == "b"] == ["b:1", "b:2"]


def test_one_group_goes_alone(stage: PushStage, relay: PushRelay, failed: Answers) -> None:
    assert one(stage.db, RETRY, "b") == 1
    relay.drain()
    assert failed.accepted == ["b:1", "b:2"]
    assert one(stage.db, RETRY, "b") == 0


def test_an_open_breaker_probes_at_once(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry=LATER, breaker={"minimum": 2, "cool_down_seconds": 3600})
    stage.receiver.react = respond(503)
    stage.publish("a:1", "b:1", "c:1")
    relay.drain()
    assert stage.breaker() == "open"
    stage.receiver.react = OK
    stage.db.execute(RETRY, [None])
    relay.drain()
    assert (stage.breaker(), stage.rows()) == ("closed", [])


def test_parked_messages_stay(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe(retry={"schedule_seconds": []}, on_exhausted="park")
    stage.receiver.react = respond(500)
    stage.publish("a:1", "a:2")
    relay.drain()
    assert one(stage.db, RETRY, None) == 0
    assert [state for _, _, state in stage.rows()] == ["parked", "behind"]


@pytest.mark.usefixtures("failed")
def test_another_schedule_is_in_force_for_what_waits(stage: PushStage, relay: PushRelay) -> None:
    stage.settle("billing", retry=after(30))
    relay.drain()
    assert [25 < seconds <= 30 for seconds in waits(stage)] == [True, True]
    stage.settle("billing", retry=after(3600))
    relay.drain()
    assert [3590 < seconds <= 3600 for seconds in waits(stage)] == [True, True]
    assert relay.probe() == []


def test_a_run_that_began_before_goes_by_the_new_schedule_as_well(
    stage: PushStage, relay: PushRelay
) -> None:
    def change_and_fail(_: Received) -> Reaction:
        stage.settle("billing", retry=after(30))
        return respond(503)

    stage.subscribe(retry=LATER)
    stage.receiver.react = change_and_fail
    stage.publish("a:1")
    relay.drain()
    assert [25 < seconds <= 30 for seconds in waits(stage)] == [True]


@pytest.mark.usefixtures("failed")
@pytest.mark.parametrize("change", ["schedule", "retry"])
def test_who_changes_when_it_goes_waits_for_none_of_what_waits(
    stage: PushStage, relay: PushRelay, change: str
) -> None:
    """However many rows there are, and whichever relay holds them."""
    with psycopg.connect(stage.database_url) as other:
        other.execute("select from outbox.delivery for update")
        with stage.db.transaction():
            stage.db.execute("set local lock_timeout = '1s'")
            if change == "schedule":
                stage.settle("billing", retry=after(0))
            else:
                assert one(stage.db, RETRY, None) == 2
        other.rollback()
    relay.drain()
    assert stage.rows() == []


def test_a_change_is_made_part_by_part_and_before_anything_else_goes(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(503)
    stage.publish(*(f"g{number}:1" for number in range(5)))
    relay.drain()
    stage.receiver.requests.clear()
    stage.publish("new:1")
    monkeypatch.setattr(rows, "MAX_RESCHEDULED", 2)
    stage.settle("billing", retry=after(3600))
    relay.round()
    assert [seconds > 1000 for seconds in waits(stage)] == [True, True, False, False, False]
    # The second change finds the first one half made.
    stage.settle("billing", retry=after(100_000))
    stage.settle("billing", retry=after(30))
    for _ in range(3):
        relay.round()
    assert stage.keys() == []
    relay.drain()
    assert [25 < seconds <= 30 for seconds in waits(stage)] == [True] * 6
    assert stage.keys() == ["new:1"]
    assert one(stage.db, RETRY, None) == 6
    relay.drain()
    assert len(stage.dead_letters()) == 6


@pytest.mark.usefixtures("failed")
def test_what_has_had_its_attempts_by_the_new_schedule_waits_no_longer(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.settle("billing", retry={"schedule_seconds": []})
    relay.drain()
    dead_letters = [(key, exhausted) for key, _, exhausted, *_ in stage.dead_letters()]
    assert dead_letters == [("a:1", "1 attempts"), ("b:1", "1 attempts")]


def test_what_has_had_its_attempts_waits_out_no_jitter_and_nothing_that_was_asked_for(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry={"schedule_seconds": [600], "jitter": 1})
    asked = respond(503, headers={"Retry-After": "3600"})
    answers = Answers().give("a:1", respond(503)).give("b:1", asked)
    stage.receiver.react = answers
    stage.publish("a:1", "b:1")
    relay.drain()
    stage.settle("billing", retry={"schedule_seconds": []})
    relay.drain()
    assert [key for key, *_ in stage.dead_letters()] == ["a:1", "b:1"]


@pytest.mark.usefixtures("failed")
def test_a_change_that_another_session_makes_is_waited_for_without_a_connection(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.settle("billing", retry=after(3600))
    with psycopg.connect(stage.database_url) as other:
        other.execute(RETRY, [None])
        assert relay.run(relay.probe()[0]) == Ran(blocked=True)
        other.commit()
    relay.drain()
    assert stage.rows() == []


@pytest.mark.usefixtures("failed")
def test_other_settings_leave_the_schedule_alone(stage: PushStage) -> None:
    before = waits(stage)
    stage.settle("billing", timeout_seconds=7, concurrency=3)
    assert all(abs(was - now) < 5 for was, now in zip(before, waits(stage), strict=True))


def test_a_name_that_is_not_there_is_told(stage: PushStage) -> None:
    with pytest.raises(psycopg.errors.NoDataFound):
        stage.db.execute(RETRY, [None])


def _given(draw: random.Random) -> dict[str, object]:
    if draw.random() < 0.3:
        return {"schedule_seconds": [draw.randrange(9000) for _ in range(draw.randrange(12))]}
    choices: dict[str, Callable[[], object]] = {
        "initial_delay_seconds": lambda: draw.choice([0, 0.5, 7, 3600, 86400]),
        "multiplier": lambda: draw.choice([1, 1.05, 1.5, 2, 100]),
        "max_delay_seconds": lambda: draw.choice([0, 60, 604800]),
        "max_attempts": lambda: draw.randrange(1, 101),
    }
    return {name: choose() for name, choose in choices.items() if draw.random() < 0.5}


def test_the_database_knows_the_schedules_as_the_relay_does(stage: PushStage) -> None:
    draw = random.Random(7)
    delay = "select extract(epoch from outbox.retry_delay(%s, %s))::float8"
    for _ in range(300):
        given, attempts = _given(draw), draw.randrange(1, 101)
        wanted = delay_seconds(msgspec.convert(given, Retry), attempts, lambda: 0.0)
        found = one(stage.db, delay, Jsonb(given), attempts)
        assert found == pytest.approx(wanted), (given, attempts)
