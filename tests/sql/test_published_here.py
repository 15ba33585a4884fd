"""A transaction sees what it published, and nothing of any other."""

from typing import Any, LiteralString

from tests.sql.conftest import Member, Open
from tests.sql.log import Session, one, publish

HERE: LiteralString = (
    "select channel, type, group_key, payload, headers from outbox.published_here()"
)
BUFFERS: LiteralString = """
    explain (analyze, buffers, format json) select * from outbox.published_here()
"""


def here(session: Session) -> list[tuple[Any, ...]]:
    return session.execute(HERE).fetchall()


def test_a_publisher_sees_what_its_transaction_published_in_order(member: Member) -> None:
    publisher = member("outbox_publisher")
    with publisher.transaction(force_rollback=True):
        publisher.execute(
            "select outbox.publish('orders', 'made', '{\"a\" : 1}', group_key => '7',"
            ' priority => 4, headers => \'{"tenant": "acme"}\')'
        )
        publisher.execute("select outbox.publish_bytes('scans', 'scan', '\\x00ff', 'image/png')")
        publisher.execute(
            "insert into outbox.message (channel, type, payload, priority)"
            " values ('orders', 'plain', '1', 1)"
        )
        assert here(publisher) == [
            ("orders", "made", "7", b'{"a" : 1}', {"tenant": "acme"}),
            ("scans", "scan", None, b"\x00\xff", None),
            ("orders", "plain", None, b"1", None),
        ]


def test_no_other_transaction_is_seen(db: Session, open_session: Open, member: Member) -> None:
    publish(db)
    publisher, other = member("outbox_publisher"), open_session()
    with other.transaction(), publisher.transaction():
        publish(other)
        publish(publisher, "mine")
        assert [key for _, _, key, *_ in here(publisher)] == ["mine"]
    assert here(publisher) == []


def test_a_message_of_another_cluster_with_the_same_transaction_id_is_not_seen(db: Session) -> None:
    """As a copy of the database has them until it is rebased."""
    with db.transaction():
        publish(db, "mine")
        db.execute(
            "insert into outbox.message (channel, type, payload, created_at)"
            " values ('orders', 'theirs', '{}', now() - interval '1 second')"
        )
        assert [key for _, _, key, *_ in here(db)] == ["mine"]


def test_what_was_rolled_back_to_a_savepoint_is_not_seen(db: Session) -> None:
    with db.transaction():
        publish(db, "first")
        with db.transaction(force_rollback=True):
            publish(db, "undone")
        with db.transaction():
            publish(db, "second")
        assert [key for _, _, key, *_ in here(db)] == ["first", "second"]


def test_who_asks_and_wrote_nothing_gets_no_transaction_id(db: Session) -> None:
    with db.transaction():
        assert here(db) == []
        assert one(db, "select pg_current_xact_id_if_assigned()") is None


def test_the_answer_costs_no_walk_through_the_log(db: Session) -> None:
    db.execute(
        "insert into outbox.message (channel, type, payload, priority)"
        " select 'orders', 'old', '', n % 5 + 1 from generate_series(1, 20000) as n"
    )
    with db.transaction():
        publish(db)
        here(db)  # what is read once a session is read
        [plan] = one(db, BUFFERS)
        assert plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"] < 60
