"""What becomes of a subscription is told on `outbox.events`, by whichever way it was done."""

from collections import Counter
from typing import Any

from tests.sql.log import Session, one

TOLD = """
    select type, convert_from(payload, 'UTF8')::json ->> 'name',
           convert_from(payload, 'UTF8')::json -> 'detail'
    from outbox.message where channel = 'outbox.events' order by id
"""
PAUSE = "update outbox.subscription set paused = true, paused_reason = 'moving house'"
RESUME = "update outbox.subscription set paused = false, paused_reason = null"


def told(db: Session) -> list[tuple[Any, ...]]:
    return db.execute(TOLD).fetchall()


def test_a_pause_and_a_resume_by_sql_are_told(db: Session) -> None:
    one(db, "select subscription_id from outbox.subscribe('billing', 'c', 'https://h/')")
    db.execute(PAUSE)
    db.execute(RESUME)
    assert sorted(told(db)[:2]) == [
        ("subscription.paused", "billing", {"reason": "moving house"}),
        ("subscription.paused", "kafka", {"reason": "moving house"}),
    ]
    assert sorted(told(db)[2:]) == [
        ("subscription.resumed", "billing", {}),
        ("subscription.resumed", "kafka", {}),
    ]


def test_a_pause_without_a_reason_is_told_so(db: Session) -> None:
    db.execute("update outbox.subscription set paused = true")
    assert told(db) == [("subscription.paused", "kafka", {"reason": None})]


def test_what_changes_nothing_is_not_told(db: Session) -> None:
    db.execute(RESUME)
    db.execute("update outbox.subscription set settings = settings")
    db.execute(PAUSE)
    db.execute("update outbox.subscription set paused_reason = 'still moving'")
    db.execute(PAUSE)
    assert len(told(db)) == 1


def test_what_was_rolled_back_is_not_told(db: Session) -> None:
    with db.transaction(force_rollback=True):
        db.execute(PAUSE)
    assert told(db) == []


def test_a_subscription_that_was_disabled_is_told_once_and_as_that(db: Session) -> None:
    for _ in range(2):
        db.execute("select outbox.disable(id, '410 Gone') from outbox.subscription")
    assert told(db) == [("subscription.disabled", "kafka", {"reason": "410 Gone"})]
    db.execute(RESUME)
    db.execute(PAUSE)
    assert [type for type, *_ in told(db)[1:]] == ["subscription.resumed", "subscription.paused"]


def test_a_pause_in_the_transaction_that_disabled_another_is_told_as_a_pause(db: Session) -> None:
    one(db, "select subscription_id from outbox.subscribe('billing', 'c', 'https://h/')")
    with db.transaction():
        db.execute("select outbox.disable(id, 'gone') from outbox.subscription where id = 1")
        db.execute("update outbox.subscription set paused = true where not paused")
    assert [row[:2] for row in told(db)] == [
        ("subscription.disabled", "kafka"),
        ("subscription.paused", "billing"),
    ]


LATER = "update outbox.told set since = since - interval '6 minutes'"


def flap(db: Session, times: int) -> None:
    for _ in range(times):
        db.execute(PAUSE)
        db.execute(RESUME)


def test_what_is_done_again_and_again_is_told_five_times_and_then_in_one_number(
    db: Session,
) -> None:
    flap(db, 100)
    assert Counter(type for type, *_ in told(db)) == {
        "subscription.paused": 5,
        "subscription.resumed": 5,
    }
    before = len(told(db))
    db.execute(LATER)
    assert one(db, "select outbox.tell_left_out()") == 190
    numbers = [(detail["type"], detail["number"]) for _, _, detail in told(db)[before:]]
    assert sorted(numbers) == [("subscription.paused", 95), ("subscription.resumed", 95)]
    assert {row[:2] for row in told(db)[before:]} == {("subscription.events_left_out", "kafka")}


def test_what_was_left_out_is_told_once_and_counting_begins_anew(db: Session) -> None:
    flap(db, 6)
    db.execute(LATER)
    db.execute("select outbox.tell_left_out()")
    before = len(told(db))
    assert one(db, "select outbox.tell_left_out()") == 0
    flap(db, 1)
    assert [type for type, *_ in told(db)[before:]] == [
        "subscription.paused",
        "subscription.resumed",
    ]


def test_within_five_minutes_nothing_is_counted_anew(db: Session) -> None:
    flap(db, 6)
    assert one(db, "select outbox.tell_left_out()") == 0
    before = len(told(db))
    flap(db, 1)
    assert len(told(db)) == before


def test_where_nothing_was_left_out_nothing_is_told_of_it(db: Session) -> None:
    flap(db, 5)
    db.execute(LATER)
    assert one(db, "select outbox.tell_left_out()") == 0
    assert "subscription.events_left_out" not in [type for type, *_ in told(db)]


def test_who_changes_again_and_again_silences_no_other_and_nothing_else(db: Session) -> None:
    one(db, "select subscription_id from outbox.subscribe('billing', 'c', 'https://h/')")
    for _ in range(6):
        db.execute(PAUSE + " where name = 'kafka'")
        db.execute(RESUME + " where name = 'kafka'")
    before = len(told(db))
    db.execute("select outbox.disable(id, '410 Gone') from outbox.subscription")
    assert sorted(row[:2] for row in told(db)[before:]) == [
        ("subscription.disabled", "billing"),
        ("subscription.disabled", "kafka"),
    ]


def test_a_subscription_that_is_gone_is_told_nothing_of(db: Session) -> None:
    one(db, "select subscription_id from outbox.subscribe('billing', 'c', 'https://h/')")
    flap(db, 6)
    db.execute("delete from outbox.subscription where name = 'billing'")
    db.execute(LATER)
    before = len(told(db))
    db.execute("select outbox.tell_left_out()")
    assert {name for _, name, _ in told(db)[before:]} == {"kafka"}
    assert one(db, "select count(*) from outbox.told") == 0
