"""outbox.trace follows a message to an endpoint through all that becomes of it."""

from typing import Any

from psycopg.rows import dict_row

from tests.receiver import OK, respond
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage
from tests.sql.log import one

TRACE = """
    select traced.* from outbox.message as m cross join lateral outbox.trace(m.id) as traced
    where m.idempotency_key = %s and traced.subscription = 'billing'
"""
TWICE = {"schedule_seconds": [0], "jitter": 0}


def trace(stage: PushStage, key: str) -> dict[str, Any]:
    with stage.db.cursor(row_factory=dict_row) as cursor:
        (found,) = cursor.execute(TRACE, [key]).fetchall()
    return found


def states(stage: PushStage, *keys: str) -> list[str]:
    return [trace(stage, key)["state"] for key in keys]


def test_a_failing_message_is_retrying_and_its_group_waits_for_it_until_it_arrives(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = Answers().give("a:1", respond(503), OK)
    stage.publish("a:1", "a:2", "b:1")
    assert states(stage, "a:1", "a:2", "b:1") == ["waiting"] * 3
    relay.drain()
    assert states(stage, "a:1", "a:2", "b:1") == ["retrying", "waiting", "delivered"]
    head = one(stage.db, "select id from outbox.message where idempotency_key = 'a:1'")
    assert trace(stage, "a:2")["queue"]["head"]["message_id"] == head
    assert trace(stage, "a:1")["because"] == "http_503"
    stage.let_time_pass()
    relay.drain()
    assert states(stage, "a:1", "a:2") == ["delivered"] * 2
    attempts = trace(stage, "a:1")["attempts"]
    assert [(made["number"], made["status"]) for made in attempts] == [(2, 200), (1, 503)]
    assert {made["relay"] for made in attempts} == {relay.settings.name}


def test_what_is_given_up_is_a_dead_letter_then_redriven_then_delivered(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=TWICE)
    stage.receiver.react = answers = Answers().give("a:1", respond(500))
    stage.publish("a:1")
    relay.drain()
    found = trace(stage, "a:1")
    assert (found["state"], found["because"]) == ("dead_letter", "http_500")
    assert found["dead_letter"]["exhausted"] == "2 attempts"
    answers.give("a:1", OK)
    stage.db.execute("select outbox.redrive(%s)", [stage.dead_letter_ids()])
    assert states(stage, "a:1") == ["redriven"]
    relay.drain()
    assert states(stage, "a:1") == ["delivered"]


def test_what_a_replay_sends_again_is_replayed_until_it_has_arrived(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    stage.publish("a:1", "a:2")
    relay.drain()
    first = one(stage.db, "select min(id) from outbox.message where channel = 'orders'")
    stage.db.execute("select outbox.replay('billing', from_message_id => %s)", [first])
    assert states(stage, "a:1", "a:2") == ["replayed"] * 2
    relay.drain()
    assert states(stage, "a:1", "a:2") == ["delivered"] * 2
    assert len(trace(stage, "a:2")["attempts"]) == 2


def test_behind_an_open_breaker_messages_wait_for_its_next_probe(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER, breaker={"minimum": 1, "threshold": 0.01})
    stage.receiver.react = Answers().give("a:1", respond(503))
    stage.publish("a:1")
    relay.drain()
    stage.publish("b:1")
    assert states(stage, "a:1", "b:1") == ["breaker_open"] * 2
    retry_at = one(stage.db, "select retry_at from outbox.breaker where retry_at is not null")
    assert trace(stage, "b:1")["next_attempt_at"] == retry_at
