"""A subscription is deleted once the caller says what is to become of the undelivered."""

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors
from psycopg.conninfo import make_conninfo

from tests.sql.log import Session, one

DELETE = "delete from outbox.subscription where name = 'billing'"
SUBSCRIBE = """
    insert into outbox.subscription (name, kind, channels, settings)
    values ('billing', %s, '{orders}', %s)
"""
PUBLISH = "select outbox.publish('orders', 'paid', '{}', group_key => 'g')"
DEAD_LETTER = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
         content_type, payload, created_at, reason, detail, attempts, redriven_at, delivered_at)
    select subscription_id, cursor.id, %(n)s, 3, 'orders', 'paid', 'key', 'application/json', '{}',
           now(), 'http_500', '', 1, %(delivered_at)s, %(delivered_at)s
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""
ROW = """
    insert into outbox.delivery (cursor_id, message_id, group_key, due_at)
    select cursor.id, 1, 'g', now()
    from outbox.cursor join outbox.subscription on subscription.id = subscription_id
    where name = 'billing' and priority = 3
"""
PASS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'test' from outbox.checkpoint
    group by cursor_id
"""
SET_ASIDE = """
    insert into outbox.cursor (subscription_id, shard, priority, channel)
    select id, 0, 3, 'orders' from outbox.subscription where name = 'billing'
"""
COUNT = "select count(*) from outbox.subscription where name = 'billing'"


@pytest.fixture(params=["http", "kafka"])
def billing(db: Session, request: pytest.FixtureRequest) -> Session:
    """A database with a subscription `billing` to channel `orders`."""
    settings = '{"endpoint": "https://a.example/"}' if request.param == "http" else "{}"
    db.execute(SUBSCRIBE, [request.param, settings])
    return db


def give_up(db: Session, number: int, delivered_at: str | None = None) -> None:
    db.execute(DEAD_LETTER, {"n": number, "delivered_at": delivered_at})


def publish_three(db: Session) -> None:
    for _ in range(3):
        db.execute(PUBLISH)


def make_two_dead_letters(db: Session) -> None:
    give_up(db, 1)
    give_up(db, 2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (publish_three, "unread messages (3)"),
        (lambda db: db.execute(ROW), "messages on their way (1)"),
        (make_two_dead_letters, "undelivered dead letters (2)"),
    ],
)
def test_a_plain_delete_is_refused_with_what_is_undelivered_and_the_mend(
    billing: Session, make: Callable[[Session], object], told: str
) -> None:
    make(billing)
    with pytest.raises(errors.DependentObjectsStillExist) as refused:
        billing.execute(DELETE)
    assert refused.value.diag.message_primary == f"subscription billing still has {told}"
    hint = "select outbox.delete_subscription('billing', discard_undelivered => true)"
    assert hint in (refused.value.diag.message_hint or "")
    with pytest.raises(errors.DependentObjectsStillExist):
        billing.execute("select outbox.delete_subscription('billing')")
    billing.execute(hint)
    assert one(billing, COUNT) == 0


def test_all_kinds_are_told_at_once(billing: Session) -> None:
    publish_three(billing)
    make_two_dead_letters(billing)
    billing.execute(ROW)
    with pytest.raises(
        errors.DependentObjectsStillExist,
        match=r"unread messages \(3\), messages on their way \(1\), undelivered dead letters \(2\)",
    ):
        billing.execute(DELETE)


@pytest.mark.parametrize("delete", [DELETE, "select outbox.delete_subscription('billing')"])
def test_what_has_delivered_everything_is_deleted_with_all_that_is_its_own(
    billing: Session, delete: str
) -> None:
    billing.execute("select outbox.publish('other', 't', '{}')")
    publish_three(billing)
    billing.execute(PASS)
    give_up(billing, 1, "2026-01-01T00:00:00Z")
    billing.execute(delete.encode())
    assert one(billing, COUNT) == 0
    assert one(billing, "select count(*) from outbox.dead_letter") == 0


def test_what_waits_for_its_topic_stands_in_the_way_once(billing: Session) -> None:
    """A channel that waits alone is read by its channel cursor, and by no other."""
    billing.execute(SET_ASIDE)
    billing.execute(
        "insert into outbox.checkpoint (cursor_id, n, seen, relay) select id, 0, '3:3:', 'test'"
        " from outbox.cursor where channel = 'orders'"
    )
    publish_three(billing)
    with pytest.raises(errors.DependentObjectsStillExist, match=r"unread messages \(3\)"):
        billing.execute(DELETE)


def test_a_plain_delete_waits_for_no_run_and_says_what_does(
    billing: Session, any_database_url: str
) -> None:
    with psycopg.connect(any_database_url) as run:
        run.execute("select from outbox.cursor for no key update")
        with pytest.raises(errors.LockNotAvailable) as refused:
            billing.execute(DELETE)
    assert "relay is at work" in str(refused.value)
    assert "select outbox.delete_subscription('billing')" in str(refused.value)
    billing.execute(DELETE)


def test_a_delete_of_several_loses_nothing_of_any(billing: Session) -> None:
    publish_three(billing)
    with pytest.raises(errors.DependentObjectsStillExist):
        billing.execute("delete from outbox.subscription")
    assert one(billing, "select count(*) from outbox.subscription") == 2


def test_one_that_is_discarded_takes_no_other_along(billing: Session) -> None:
    publish_three(billing)
    billing.execute("begin")
    billing.execute("select outbox.delete_subscription('billing', true)")
    with pytest.raises(errors.DependentObjectsStillExist):
        billing.execute("delete from outbox.subscription where name = 'kafka'")
    billing.execute("rollback")


def test_what_is_not_there_is_told(db: Session) -> None:
    with pytest.raises(errors.NoDataFound, match="there is no subscription billing"):
        db.execute("select outbox.delete_subscription('billing')")


def test_a_service_may_not_delete_any(any_database_url: str, db: Session) -> None:
    role = f"outbox_service_{db.info.backend_pid}"
    db.execute(f"create role {role} login in role outbox_service".encode())
    try:
        url = make_conninfo(any_database_url, user=role)
        with psycopg.connect(url) as service, pytest.raises(errors.InsufficientPrivilege):
            service.execute("select outbox.delete_subscription('kafka', true)")
    finally:
        db.execute(f"drop role {role}".encode())
