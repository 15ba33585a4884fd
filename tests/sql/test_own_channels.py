"""Channels that begin with `outbox.` are written by the platform's own functions alone."""

import uuid
from typing import LiteralString

import pytest
from psycopg import errors, sql

from tests.sql.conftest import Member
from tests.sql.log import Session, one, turn

WAYS: dict[str, LiteralString] = {
    "publish": "select outbox.publish(%(channel)s, 'forged', '{}')",
    "publish_bytes": "select outbox.publish_bytes(%(channel)s, 'forged', '\\xff', 'text/plain')",
    "insert": (
        "insert into outbox.message (channel, type, payload) values (%(channel)s, 'forged', '')"
    ),
    "insert of many": """
        insert into outbox.message (channel, type, payload)
        select case n when 3 then %(channel)s else 'orders' end, 'forged', ''
        from generate_series(1, 5) as n
    """,
}
OWN = [
    "outbox.live",
    "outbox.events",
    "outbox.test",
    "outbox.",
    "outbox.new",
    "outbox..",
    "outbox.-",
]
# Other channels to the log, and to the subscriptions that leave out what is the platform's.
OTHERS = ["outbox", "outboxes", "outbox-live", "Outbox.live", "OUTBOX.events", ".outbox.live"]
CHANNELS = "select array_agg(channel order by id) from outbox.message"


@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_service"])
@pytest.mark.parametrize("way", WAYS)
def test_no_login_but_the_platform_writes_its_channels(
    db: Session, member: Member, group: str, way: str
) -> None:
    session = member(group)
    for channel in OWN:
        with pytest.raises(errors.InsufficientPrivilege, match=r"is the platform's own") as refused:
            session.execute(WAYS[way], {"channel": channel})
        diagnosis = refused.value.diag
        assert (diagnosis.table_name, diagnosis.column_name) == ("message", "channel")
        assert f"channel {channel} " in str(refused.value)
        assert "does not begin with" in str(refused.value)
    assert one(db, CHANNELS) is None


@pytest.mark.parametrize("way", ["publish", "publish_bytes", "insert"])
def test_a_channel_that_only_looks_like_one_of_the_platform_is_anybodys(
    db: Session, member: Member, way: str
) -> None:
    session = member("outbox_publisher")
    for channel in OTHERS:
        session.execute(WAYS[way], {"channel": channel})
    assert one(db, CHANNELS) == OTHERS


def test_a_publisher_cannot_copy_rows_into_them(member: Member) -> None:
    session = member("outbox_publisher")
    with (
        pytest.raises(errors.InsufficientPrivilege, match="is the platform's own"),
        session.cursor() as cursor,
        cursor.copy("copy outbox.message (channel, type, payload) from stdin") as copy,
    ):
        copy.write_row(("outbox.live", "forged", b""))


def test_who_became_a_publisher_for_a_moment_is_one(db: Session) -> None:
    """A superuser's session that acts as another role acts with that role's rights."""
    db.execute("set role outbox_publisher")
    for way in WAYS.values():
        with pytest.raises(errors.InsufficientPrivilege):
            db.execute(way, {"channel": "outbox.events"})


def test_every_partition_is_guarded(db: Session, member: Member) -> None:
    """Those of the migration, and one that was made later."""
    session = member("outbox_publisher")
    for _ in range(4):
        session.execute(WAYS["insert"], {"channel": "orders"})
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(WAYS["insert"], {"channel": "outbox.live"})
        turn(db)
    assert one(db, "select count(distinct tableoid) from outbox.message") == 4
    assert one(db, CHANNELS) == ["orders"] * 4


@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_service", "outbox_relay"])
def test_no_role_may_call_the_functions_that_write_them(member: Member, group: str) -> None:
    session = member(group)
    for forgery in (
        "select outbox.publish_own('outbox.events', 'forged', '{}')",
        "select outbox.tell(1, 'subscription.paused', '{}')",
        "select outbox.tell_at_times(1, 'subscription.paused', '{}')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute(forgery.encode())


def test_the_owner_may(db: Session) -> None:
    """One that is no superuser."""
    role = sql.Identifier(f"owner_{uuid.uuid4().hex}")
    db.execute(sql.SQL("create role {}").format(role))
    try:
        db.execute(sql.SQL("grant usage on schema outbox to {}").format(role))
        for function in (
            "uuid7", "headers_are_plain", "headers_fault", "is_withheld", "refuse_headers",
        ):  # fmt: skip
            grant = sql.SQL("grant execute on function outbox.{} to {}")
            db.execute(grant.format(sql.SQL(function), role))
        db.execute(sql.SQL("alter table outbox.message owner to {}").format(role))
        db.execute(sql.SQL("set role {}").format(role))
        db.execute(WAYS["insert"], {"channel": "outbox.events"})
        db.execute("reset role")
        assert one(db, CHANNELS) == ["outbox.events"]
    finally:
        db.execute(sql.SQL("reset role; reassign owned by {} to current_user").format(role))
        db.execute(sql.SQL("drop owned by {}; drop role {}").format(role, role))


def test_the_platform_writes_them_for_those_who_may_call_it(db: Session, member: Member) -> None:
    session = member("outbox_service")
    made = one(session, "select subscription_id from outbox.subscribe('n', 'c', 'https://h/')")
    one(session, "select outbox.send_test(%s)", made)
    session.execute("update outbox.subscription set paused = true where id = %s", [made])
    order_id = "00000000-0000-4000-8000-000000000000"
    session.execute("select sale.publish_update(%s, '{}')", [order_id])
    member("outbox_relay").execute("select outbox.disable(1, 'gone')")
    assert one(db, CHANNELS) == ["outbox.test", "outbox.events", "outbox.live", "outbox.events"]
    row = db.execute(
        "select type, group_key, priority from outbox.message where channel = 'outbox.live'"
    ).fetchone()
    assert row == ("ORDER_PAYMENT_UPDATED", order_id, 1)
