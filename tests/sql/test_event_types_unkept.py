"""Types whose schemas SQL can't keep: SQL checks nothing of them, and takes the service's word."""

from concurrent.futures import ThreadPoolExecutor
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.event_types import ORDER, PUT, parameters, register
from tests.eventually import eventually
from tests.sql.conftest import Member, Open
from tests.sql.log import Session, one

WORD = {"properties": {"word": {"pattern": r"\bword"}}}
CHECKED: LiteralString = """
    select outbox.publish_checked(
        'orders', %(type)s, '{}', %(version)s, %(pointer)s, %(keyword)s, null, 3, 'key', null)
"""
FITTING = '\'{"orderId": "1"}\''
NOTHING = {"version": None, "pointer": None, "keyword": None}
VERSIONS = "select array_agg(type_version order by id) from outbox.message"
WAITS_FOR = "select pg_blocking_pids(%s::integer)"
FAULTS = """
    select array_agg(concat_ws(' ', version, channel, pointer, keyword))
    from outbox.event_type_fault
"""


def publish_checked(session: Session, type_: str = "word", **found: object) -> None:
    parameters = {"type": type_, "version": 1, "pointer": None, "keyword": None, **found}
    session.execute(CHECKED, parameters)


@pytest.mark.parametrize("enforcement", ["off", "report"])
def test_from_sql_it_is_not_checked(db: Session, enforcement: str) -> None:
    register(db, "word", WORD, enforcement=enforcement)
    db.execute("""select outbox.publish('orders', 'word', '{"word": 1}')""")
    db.execute("select outbox.publish('elsewhere', 'word', '{}')")
    assert one(db, VERSIONS) == [None, None]
    assert one(db, FAULTS) is None


def test_why_not_is_told(db: Session) -> None:
    register(db, "word", WORD, enforcement="report")
    register(db, "order.created")
    told = db.execute("select type, not_in_sql from outbox.event_type_state order by id").fetchall()
    assert told == [
        ("word", r"/properties/word/pattern: '\\bword' has word boundaries"),
        ("order.created", None),
    ]


def test_it_is_not_put_with_refuse(db: Session) -> None:
    register(db, "word", WORD, enforcement="report")
    given = {**parameters(db, "word", WORD, enforcement="report"), "enforcement": "refuse"}
    with pytest.raises(errors.CheckViolation, match="is not refused: /properties/word/pattern"):
        db.execute(PUT, given)


def test_what_is_set_to_refuse_by_hand_refuses_all(db: Session) -> None:
    register(db, "word", WORD, enforcement="report")
    db.execute("update outbox.event_type set enforcement = 'refuse'")
    with pytest.raises(psycopg.DatabaseError) as refused:
        db.execute("select outbox.publish('orders', 'word', '{}')")
    assert refused.value.sqlstate == "OB422"


def test_what_the_service_has_checked_says_its_version_or_its_fault(
    db: Session, member: Member
) -> None:
    register(db, "word", WORD, enforcement="report")
    service = member("outbox_service")
    publish_checked(service)
    publish_checked(service, pointer="/word", keyword="pattern")
    assert one(db, VERSIONS) == [1, None]
    assert one(db, FAULTS) == ["1 orders /word pattern"]
    assert one(db, "select faults from outbox.event_type_state") == 1


def test_what_is_of_no_such_type_is_published_as_by_others(db: Session) -> None:
    register(db, "order.created")
    for type_, version in (("order.created", [1]), ("unknown", [1, None])):
        db.execute(CHECKED.replace("'{}'", FITTING), {**NOTHING, "type": type_})
        assert one(db, VERSIONS) == version
    with pytest.raises(psycopg.DatabaseError, match="does not fit version 1"):
        publish_checked(db, "order.created", version=None)


def test_a_type_of_which_a_checked_message_was_published_is_not_deleted(db: Session) -> None:
    register(db, "word", WORD, enforcement="report")
    publish_checked(db)
    db.execute("delete from outbox.message")
    with pytest.raises(errors.CheckViolation, match="were published"):
        db.execute("select outbox.drop_event_type('word')")


@pytest.mark.parametrize("of", ["another version", "no type", "off", "what SQL keeps", "channel"])
def test_the_services_word_counts_for_nothing_else(db: Session, of: str) -> None:
    match of:
        case "another version":
            register(db, "word", WORD, enforcement="report")
            register(db, "word", {**WORD, "title": "t"}, enforcement="report")
        case "off":
            register(db, "word", WORD, enforcement="off")
        case "what SQL keeps":
            register(db, "word", ORDER, enforcement="report")
        case "channel":
            register(db, "word", WORD, enforcement="report", of_key="k", channels=["k.orders"])
    with pytest.raises(psycopg.DatabaseError, match="to be held to another version") as refused:
        publish_checked(db)
    assert refused.value.sqlstate == "OB409"
    assert one(db, "select count(*) from outbox.message") == 0


def test_no_fault_is_kept_of_a_type_that_is_deleted_meanwhile(
    db: Session, open_session: Open
) -> None:
    register(db, "word", WORD, enforcement="report")
    deleting, publishing = open_session(), open_session()

    def waits() -> None:
        assert one(db, WAITS_FOR, publishing.info.backend_pid) == [deleting.info.backend_pid]

    with ThreadPoolExecutor(1) as pool:
        with deleting.transaction():
            deleting.execute("select outbox.drop_event_type('word')")
            fault = {"pointer": "/word", "keyword": "pattern"}
            published = pool.submit(publish_checked, publishing, **fault)
            eventually(waits)
        published.result(10)
    assert one(db, VERSIONS) == [None]
    assert one(db, FAULTS) is None


@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_relay", "outbox_reader"])
def test_nobody_but_the_service_can_say_so(db: Session, member: Member, group: str) -> None:
    register(db, "word", WORD, enforcement="report")
    with pytest.raises(errors.InsufficientPrivilege):
        publish_checked(member(group))


def test_the_service_writes_no_version_by_itself(db: Session, member: Member) -> None:
    register(db, "word", WORD, enforcement="report")
    with pytest.raises(errors.InsufficientPrivilege):
        member("outbox_service").execute(
            "insert into outbox.message (channel, type, payload, type_version)"
            " values ('orders', 'word', '{}', 1)"
        )


def test_a_version_that_sql_keeps_is_checked_again(db: Session) -> None:
    register(db, "word", WORD, enforcement="report")
    kept = {"properties": {"word": {"type": "string"}}}
    assert register(db, "word", kept, enforcement="refuse", compatibility="none") == 2
    with pytest.raises(psycopg.DatabaseError, match="does not fit version 2"):
        db.execute("""select outbox.publish('orders', 'word', '{"word": 1}')""")
