"""outbox.trace of what a run has passed: paused, in rows, in flight, acknowledged, dead."""

from tests.sql.log import Session, cursor_id, dead_letter, one, pass_everything, publish
from tests.sql.test_views import set_aside
from tests.sql.traced import attempt, place, row, state


def test_what_a_pause_holds_up_says_the_reason(db: Session) -> None:
    passed = publish(db)
    pass_everything(db)
    message = publish(db)
    db.execute("update outbox.subscription set paused = true, paused_reason = 'moving'")
    found = place(db, message)
    assert (found["state"], found["because"]) == ("paused", "moving")
    assert state(db, passed) == "delivered"


def test_what_an_open_breaker_holds_up_says_when_the_next_request_goes(
    db: Session, billing: int
) -> None:
    message = publish(db)
    db.execute(
        "update outbox.breaker set failing_since = now(), opened_at = '2026-01-01 00:00Z',"
        " retry_at = '2026-01-01 01:00Z'"
    )
    found = place(db, message, "billing")
    assert found["state"] == "breaker_open"
    assert (found["since"].hour, found["next_attempt_at"].hour) == (0, 1)


def test_a_channel_that_waits_for_its_topic_is_told_with_its_reason(db: Session) -> None:
    channel_cursor = set_aside(db, cursor_id(db), "missing")
    missing, other = publish(db, channel="missing"), publish(db)
    pass_everything(db, cursor_id(db))
    found = place(db, missing)
    assert (found["state"], found["because"]) == ("channel_waiting", "unknown topic")
    assert (found["queue"]["cursor"], found["queue"]["channel"]) == (channel_cursor, "missing")
    assert state(db, other) == "delivered"


def test_what_was_sent_in_vain_says_when_it_is_sent_again(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    row(db, billing, message, attempts=2, due="1 h", reason="http_503")
    attempt(db, message, 1, error="http_500", status=500)
    attempt(db, message, 2, error="http_503", status=503)
    found = place(db, message, "billing")
    due = one(db, "select due_at from outbox.delivery")
    assert (found["state"], found["because"]) == ("retrying", "http_503")
    assert found["next_attempt_at"] == due
    assert [made["status"] for made in found["attempts"]] == [503, 500]
    assert found["attempts"][0] | {"at": ""} == {
        "number": 2,
        "at": "",
        "duration_seconds": 0.5,
        "status": 503,
        "error": "http_503",
        "relay": "relay-1",
    }


def test_what_is_behind_the_head_of_its_group_names_the_head(db: Session, billing: int) -> None:
    head, second, third = (publish(db) for _ in range(3))
    pass_everything(db)
    row(db, billing, head, attempts=3, due="1 h", reason="http_503")
    row(db, billing, second)
    row(db, billing, third)
    attempt(db, head, error="http_503", status=503)
    found = place(db, third, "billing")
    assert (found["state"], found["queue"]["ahead_in_group"]) == ("waiting", 2)
    named = found["queue"]["head"]
    assert (named["message_id"], named["state"], named["attempts"]) == (head, "retrying", 3)
    assert named["tried_since"] is not None
    assert named["reason"] == "http_503"


def test_what_is_still_in_the_log_names_the_head_of_its_group(db: Session, billing: int) -> None:
    head = publish(db)
    pass_everything(db)
    row(db, billing, head, attempts=1, due="1 h")
    same, other = publish(db), publish(db, "another group")
    queue = place(db, same, "billing")["queue"]
    assert (queue["head"]["message_id"], queue["ahead"], queue["ahead_in_group"]) == (head, 0, 1)
    assert place(db, other, "billing")["queue"]["head"] is None


def test_a_request_under_way_is_in_flight_and_one_acknowledged_late_is_delivered(
    db: Session, billing: int
) -> None:
    flying, arrived = publish(db), publish(db, "another group")
    pass_everything(db)
    row(db, billing, flying, due="9 s", token=7)
    row(db, billing, arrived, due="9 s", token=8, outcome="acked", group="another group")
    assert state(db, flying, "billing") == "in_flight"
    assert state(db, arrived, "billing") == "delivered"


def test_an_acknowledged_request_says_when_it_arrived(db: Session, billing: int) -> None:
    message = publish(db)
    pass_everything(db)
    attempt(db, message)
    found = place(db, message, "billing")
    at = one(db, "select at + interval '0.5 s' from outbox.attempt")
    assert (found["state"], found["since"]) == ("delivered", at)


def test_of_many_attempts_it_shows_the_latest_fifty(db: Session, billing: int) -> None:
    message = publish(db)
    for number in range(1, 61):
        attempt(db, message, number, error="http_500", status=500)
    numbers = [made["number"] for made in place(db, message, "billing")["attempts"]]
    assert numbers == list(range(60, 10, -1))


def test_a_dead_letter_says_its_reason(db: Session) -> None:
    message = publish(db)
    letter = dead_letter(db, message)
    pass_everything(db)
    found = place(db, message)
    assert (found["state"], found["because"]) == ("dead_letter", "message_too_large")
    assert (found["dead_letter"]["id"], found["passed"]["checkpoint"]) == (letter, 1)


def test_a_dead_letter_that_was_redriven_is_on_its_way_and_then_delivered(db: Session) -> None:
    message = publish(db)
    pass_everything(db)
    letter = dead_letter(db, message)
    db.execute("select outbox.redrive(%s)", [[letter]])
    assert state(db, message) == "redriven"
    db.execute("update outbox.delivery set outcome = 'acked'")
    db.execute("select outbox.clear_acked(%s)", [cursor_id(db)])
    found = place(db, message)
    assert found["state"] == "delivered"
    assert found["since"] == one(db, "select delivered_at from outbox.dead_letter")


def test_a_parked_message_is_a_dead_letter_for_which_its_group_waits(
    db: Session, billing: int
) -> None:
    parked, behind = publish(db), publish(db)
    pass_everything(db)
    row(db, billing, parked, attempts=9)
    row(db, billing, behind)
    db.execute(
        "update outbox.delivery set due_at = 'infinity', reason = 'http_500' where message_id = %s",
        [parked],
    )
    assert state(db, parked, "billing") == "dead_letter"
    head = place(db, behind, "billing")["queue"]["head"]
    assert (head["message_id"], head["state"], head["due_at"]) == (parked, "parked", None)
