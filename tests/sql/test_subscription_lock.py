"""What a run writes waits for no lock on the subscription: it would be repeated, with its sends."""

from collections.abc import Iterator
from typing import LiteralString

import pytest
from psycopg import errors

from tests.sql.conftest import Member
from tests.sql.log import Session, one

SUBSCRIBE = "select outbox.subscribe('billing', 'orders', 'https://a.example/')"
LOCK = "select from outbox.subscription where name = 'billing' for update"
ID = "select id from outbox.subscription where name = 'billing'"
DEAD_LETTER = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
         content_type, payload, created_at, reason, detail, attempts)
    select subscription_id, cursor.id, 1, 3, 'orders', 'paid', 'key', 'application/json', '{}',
           now(), 'http_500', '', 1
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""
# Twice, as of a message that dies again in the run that it was written in.
DIES_AGAIN = "update outbox.dead_letter set attempts = attempts + 1"
OPEN = """
    update outbox.breaker
    set opened_at = clock_timestamp(), failing_since = clock_timestamp(),
        retry_at = clock_timestamp()
"""
PARTS: list[LiteralString] = [
    "select count(*) from outbox.breaker",
    "select count(*) from outbox.rate_limit",
    "select count(*) from outbox.answer_budget",
    "select count(*) from outbox.secret",
]


@pytest.fixture
def billing(db: Session, member: Member) -> Iterator[int]:
    """The id of a subscription whose row a login of the service holds, and will not let go."""
    db.execute(SUBSCRIBE)
    thief = member("outbox_service")
    thief.execute("begin")
    thief.execute(LOCK)
    with pytest.raises(errors.LockNotAvailable):
        db.execute("select from outbox.subscription where name = 'billing' for key share nowait")
    db.execute("set lock_timeout = '500ms'")
    yield one(db, ID)
    thief.execute("rollback")


def test_a_dead_letter_is_written(db: Session, billing: int) -> None:
    with db.transaction():
        db.execute(DEAD_LETTER)
        db.execute(DIES_AGAIN)
    assert one(db, "select subscription_id from outbox.dead_letter") == billing


@pytest.mark.parametrize("acked", [True, False, None])
def test_a_probe_is_judged_in_the_transaction_that_took_it(
    db: Session, billing: int, acked: bool | None
) -> None:
    db.execute(OPEN)
    with db.transaction():
        assert one(db, "select outbox.hold_half_open(%s, 7, 60)", billing)
        judge: LiteralString = "select outbox.judge_half_open(%s, 7, %s, false, 60, 0)"
        db.execute(judge, [billing, acked])
    assert one(db, "select opened_at is null from outbox.breaker") is (acked is True)


def test_a_breaker_opens(db: Session, billing: int) -> None:
    judge = "select opened from outbox.judge_breaker(%s, 0, 9, 0, 60, 2, 0.5, 60)"
    assert one(db, judge, billing)


def test_the_rate_and_the_answers_are_counted_twice(db: Session, billing: int) -> None:
    """Twice in one transaction, as of two cursors."""
    with db.transaction():
        for _ in range(2):
            db.execute("select outbox.take_answer_budget(%s, '{100}')", [billing])
            db.execute("update outbox.rate_limit set used_until = clock_timestamp()")
    assert one(db, "select bytes from outbox.answer_budget") == 200


@pytest.mark.parametrize("count", PARTS)
def test_what_an_endpoint_has_goes_with_its_subscription(db: Session, count: LiteralString) -> None:
    db.execute(SUBSCRIBE)
    assert one(db, count) == 1
    db.execute("select outbox.unsubscribe(%s)", [one(db, ID)])
    assert one(db, count) == 0


def test_a_dead_letter_keeps_its_subscription(db: Session) -> None:
    db.execute(SUBSCRIBE)
    db.execute(DEAD_LETTER)
    db.execute("drop trigger guard_undelivered on outbox.subscription")
    with pytest.raises(errors.ForeignKeyViolation):
        db.execute("delete from outbox.subscription where name = 'billing'")
