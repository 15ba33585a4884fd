"""What becomes of a subscription is told on `outbox.events`, whoever did it."""

from tests.sql.log import Session, one

TOLD = """
    select type, convert_from(payload, 'UTF8')::json ->> 'name',
           convert_from(payload, 'UTF8')::json -> 'detail'
    from outbox.message where channel = 'outbox.events' order by id
"""
PAUSE = "update outbox.subscription set paused = true, paused_reason = 'moving house'"
RESUME = "update outbox.subscription set paused = false, paused_reason = null"


def told(db: Session) -> list[tuple[object, ...]]:
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
