"""What operators see is what the relay will do."""

import uuid
from itertools import chain

import pytest
from psycopg import sql

from tests.sql.conftest import Member, Open
from tests.sql.log import (
    Session,
    begin_delta,
    cursor_id,
    dead_letter,
    one,
    pass_everything,
    pending,
    publish,
    publish_own,
)

BACKLOG = """
    select messages, more from outbox.subscription_backlog where subscription = %s and priority = %s
"""


def backlog(db: Session, name: str = "kafka", priority: int = 3) -> tuple[int, bool]:
    ((messages, more),) = db.execute(BACKLOG, [name, priority]).fetchall()
    return messages, more


def set_aside(db: Session, cursor: int, channel: str) -> int:
    """Makes a channel cursor at the position of its origin, as the relay does; its id."""
    query = """
        with made as (
            insert into outbox.cursor
                (subscription_id, shard, priority, channel, waiting_since, waiting_reason)
            select subscription_id, shard, priority, %(channel)s, clock_timestamp(), 'unknown topic'
            from outbox.cursor where id = %(cursor)s returning id
        )
        insert into outbox.checkpoint
            (cursor_id, n, seen, target, after_id, fresh_id, upto_id, relay)
        select made.id, 0, seen, target, after_id, fresh_id, upto_id, 'test'
        from outbox.checkpoint, made
        where cursor_id = %(cursor)s order by n desc limit 1
        returning cursor_id
    """
    ((channel_cursor,),) = db.execute(query, {"cursor": cursor, "channel": channel}).fetchall()
    assert isinstance(channel_cursor, int)
    return channel_cursor


def test_pending_is_what_no_cursor_has_seen_in_order_of_id(db: Session) -> None:
    publish(db)
    pass_everything(db)
    waiting = [publish(db) for _ in range(3)]
    assert pending(db, cursor_id(db)) == waiting
    assert backlog(db) == (3, False)
    assert backlog(db, priority=1) == (0, False)


def test_a_late_commit_is_pending_before_what_came_after_it(
    db: Session, open_session: Open
) -> None:
    writer = open_session()
    with writer.transaction():
        late = publish(writer)
        publish(db)
        pass_everything(db)
    newer = publish(db)
    assert pending(db, cursor_id(db)) == [late, newer]


def test_an_open_transaction_is_not_pending(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        publish(writer)
        assert pending(db, cursor_id(db)) == []


def test_of_a_delta_under_way_the_rest_is_pending(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        later_than_target = publish(writer)
        first, second, third = (publish(db) for _ in range(3))
        begin_delta(db, cursor_id(db), after_id=first)
    fresh = publish(db)
    assert pending(db, cursor_id(db)) == [second, third, later_than_target, fresh]


def test_late_messages_of_a_delta_go_before_its_range(db: Session, open_session: Open) -> None:
    writer = open_session()
    with writer.transaction():
        late = [publish(writer), publish(writer)]
        pass_everything(db)
        fresh = publish(db)
    begin_delta(db, cursor_id(db), after_id=late[0])
    assert pending(db, cursor_id(db)) == [late[1], fresh]


def test_internal_channels_go_to_no_subscription_unless_asked_for(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, channels) values ('live', '{outbox.live}')")
    internal = publish_own(db, "outbox.live")
    ordinary = publish(db, channel="outboxes")
    assert pending(db, cursor_id(db)) == [ordinary]
    assert pending(db, cursor_id(db, name="live")) == [internal]


def test_a_message_is_pending_in_one_shard(db: Session) -> None:
    db.execute("insert into outbox.subscription (name, shards) values ('wide', 4)")
    messages = [publish(db, f"group-{number}") for number in range(40)]
    shards = [pending(db, cursor_id(db, name="wide", shard=shard)) for shard in range(4)]
    assert sorted(chain.from_iterable(shards)) == messages
    assert all(shards)
    assert backlog(db, "wide") == (40, False)


def test_a_channel_cursor_takes_its_channel_and_nothing_else(db: Session) -> None:
    origin = cursor_id(db)
    orders = publish(db, channel="orders")
    channel_cursor = set_aside(db, origin, "missing")
    missing = publish(db, channel="missing")
    assert pending(db, origin) == [orders]
    assert pending(db, channel_cursor) == [missing]
    assert pending(db, cursor_id(db, priority=1)) == []
    assert backlog(db) == (2, False)


def test_counting_stops_at_a_hundred_thousand(db: Session) -> None:
    db.execute(
        "insert into outbox.message (channel, type, payload)"
        " select 'orders', 't', '' from generate_series(1, 100100)"
    )
    assert backlog(db) == (100_001, True)
    begin_delta(db, cursor_id(db), after_id=100_090)
    assert backlog(db) == (10, False)


def test_counting_is_shared_among_all_that_are_behind(db: Session) -> None:
    db.execute(
        "insert into outbox.subscription (name) select 's-' || n from generate_series(1, 19) n"
    )
    db.execute(
        "insert into outbox.message (channel, type, payload)"
        " select 'orders', 't', '' from generate_series(1, 50100)"
    )
    # Of a hundred cursors twenty are behind.
    counted = "select messages, more from outbox.cursor_backlog where messages > 0"
    assert db.execute(counted).fetchall() == [(50_000, True)] * 20


def test_holders_are_named_while_their_run_lasts(db: Session, open_session: Open) -> None:
    relay = open_session()
    mine = cursor_id(db)
    holder = "select cursor_id, relay, since is not null from outbox.cursor_holder"
    with relay.transaction():
        name = f"outbox-relay host-1 eu cursor {mine}"
        relay.execute("select set_config('application_name', %s, true)", [name])
        assert db.execute(holder).fetchall() == [(mine, "host-1 eu", True)]
    assert db.execute(holder).fetchall() == []


@pytest.mark.parametrize(
    ("group", "holds"),
    [
        ("outbox_relay", True),
        ("outbox_publisher", False),
        ("outbox_service", False),
        ("outbox_reader", False),
        ("pg_monitor", False),
    ],
)
def test_only_who_may_be_a_relay_is_believed_to_hold_a_cursor(
    db: Session, member: Member, group: str, holds: bool
) -> None:
    mine = cursor_id(db)
    session = member(group)
    name = f"outbox-relay host-1 cursor {mine}"
    session.execute("select set_config('application_name', %s, false)", [name])
    for isolation in ("begin", "begin read only"):
        session.execute(isolation)
        session.execute("select 1")
        found = db.execute("select cursor_id, relay from outbox.cursor_holder").fetchall()
        assert found == ([(mine, "host-1")] if holds else [])
        session.execute("rollback")


def test_a_relay_is_believed_as_a_member_of_a_member_or_of_the_owner(
    db: Session, member: Member
) -> None:
    holders = "select cursor_id from outbox.cursor_holder"
    mine = cursor_id(db)
    name = f"team_{uuid.uuid4().hex}"
    team = sql.Identifier(name)
    db.execute(sql.SQL("create role {} in role outbox_relay").format(team))
    try:
        session = member(name)
        session.execute(
            "select set_config('application_name', %s, false)",
            [f"outbox-relay host-1 cursor {mine}"],
        )
        assert db.execute(holders).fetchall() == [(mine,)]
        db.execute(sql.SQL("revoke outbox_relay from {}").format(team))
        assert db.execute(holders).fetchall() == []
        db.execute(sql.SQL("alter table outbox.cursor owner to {}").format(team))
        assert db.execute(holders).fetchall() == [(mine,)]
    finally:
        db.execute("alter table outbox.cursor owner to current_user")
        db.execute(sql.SQL("drop role {}").format(team))


def test_throughput_is_read_from_the_checkpoints(db: Session) -> None:
    for messages in (3, 4):
        db.execute(
            "insert into outbox.checkpoint (cursor_id, n, seen, relay, messages, bytes, created_at)"
            " select 1, max(n) + 1, pg_current_snapshot(), 'r', %s, 10, '2026-01-31 12:30:45+00'"
            " from outbox.checkpoint where cursor_id = 1",
            [messages],
        )
    throughput = "select subscription, messages, bytes, runs from outbox.throughput"
    assert db.execute(throughput).fetchall() == [("kafka", 7, 20, 2)]


def test_dead_letters_are_counted_by_what_became_of_them(db: Session) -> None:
    dead_letters = [dead_letter(db, publish(db)) for _ in range(3)]
    db.execute("select outbox.redrive(%s)", [dead_letters[1:]])
    db.execute(
        "update outbox.dead_letter set delivered_at = clock_timestamp() where id = %s",
        [dead_letters[2]],
    )
    summary = """
        select subscription, channel, reason, waiting, redriven, delivered
        from outbox.dead_letter_summary
    """
    assert db.execute(summary).fetchall() == [("kafka", "orders", "message_too_large", 1, 1, 1)]


def test_the_horizon_names_its_culprit_first(db: Session, open_session: Open) -> None:
    culprit, bystander = open_session(), open_session()
    with culprit.transaction():
        old = one(culprit, "select pg_current_xact_id()::text")
        publish(db)
        with bystander.transaction():
            one(bystander, "select pg_current_xact_id()::text")
            horizon = db.execute(
                "select name, held_since is not null, remark from outbox.horizon"
                " where database = current_database() and kind = 'session'"
            ).fetchall()
    assert old
    names = [name for name, _, _ in horizon]
    assert names == [f"pid {session.info.backend_pid}" for session in (culprit, bystander)]
    assert all(since and remark is None for _, since, remark in horizon)


def test_recent_attempts_are_looked_for_among_so_many_and_no_further(db: Session) -> None:
    """A limit above the filter would read all that are kept where few are recent."""
    plan = db.execute("explain select * from outbox.recent_attempt").fetchall()
    above, _, below = "\n".join(line for (line,) in plan).partition("Limit")
    assert "at >= " in above
    assert below
    assert "at >= " not in below
