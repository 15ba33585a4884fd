"""Who waits for whom in the event catalogue: publishers for as little as can be."""

import json
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.event_types import DOES_NOT, FITS, ORDER, PUT, parameters, register
from tests.sql.conftest import Open
from tests.sql.log import Session, one

PUBLISH: LiteralString = "select outbox.publish(%s, 'order.created', %s::json)"
DROP: LiteralString = "select outbox.drop_event_type('order.created')"
DROP_CHECK: LiteralString = "select outbox.drop_event_check()"
HELD: dict[str, tuple[LiteralString, str]] = {
    "maintenance": (
        "lock table outbox.message in share update exclusive mode", "ShareUpdateExclusiveLock",
    ),
    "a partition": (
        "do $$ begin execute (select format('lock table %s in share mode', min(inhrelid)::regclass)"
        " from pg_inherits where inhparent = 'outbox.message'::regclass); end $$", "ShareLock",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("lock", "mode"), HELD.values(), ids=HELD.keys())
def test_whatever_keeps_the_check_from_the_log_is_named(
    db: Session, open_session: Open, lock: LiteralString, mode: str
) -> None:
    holder = open_session()
    with holder.transaction():
        holder.execute(lock)
        with pytest.raises(errors.LockNotAvailable) as held:
            register(db, "order.created")
        said = held.value.diag
        assert f"pid {holder.info.backend_pid} ({mode})" in str(said.message_detail)
        assert "VACUUM with ShareUpdateExclusiveLock, ends by itself" in str(said.message_hint)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_type_is_enforced_in_a_transaction_that_sees_what_others_do(
    db: Session, level: str
) -> None:
    put = parameters(db, "order.created")
    db.isolation_level = psycopg.IsolationLevel[level.upper().replace(" ", "_")]
    with pytest.raises(errors.InvalidTransactionState), db.transaction():
        db.execute(PUT, put)
    with db.transaction():
        db.execute(PUT, {**put, "enforcement": "off"})


def test_what_is_left_on_the_log_is_not_tried_again_at_once(
    db: Session, open_session: Open
) -> None:
    register(db, "order.created")
    register(db, "order.created", enforcement="off")
    writer = open_session()
    with writer.transaction():
        writer.execute("select outbox.publish('c', 't', '{}')")
        assert not one(db, DROP_CHECK)
    assert not one(db, DROP_CHECK)
    db.execute(
        "select setval('outbox.event_check_missed', last_value - 6) from outbox.event_check_missed"
    )
    assert one(db, DROP_CHECK)


def test_a_type_whose_first_message_is_under_way_is_not_deleted(
    db: Session, open_session: Open
) -> None:
    register(db, "order.created")
    publisher = open_session()
    db.execute("set lock_timeout = '300ms'")
    with publisher.transaction():
        publisher.execute(PUBLISH, ["orders", FITS])
        with pytest.raises(errors.LockNotAvailable):
            db.execute(DROP)
    with pytest.raises(errors.CheckViolation):
        db.execute(DROP)


def test_of_what_binds_some_channels_messages_of_others_are_no_messages(db: Session) -> None:
    register(db, "order.created", of_key="tenant", channels=["tenant.orders"])
    db.execute(PUBLISH, ["orders", DOES_NOT])
    assert one(db, DROP)


def test_a_type_that_was_made_anew_is_not_the_one_that_was_expected(db: Session) -> None:
    register(db, "order.created")
    wider = {**ORDER, "properties": {**ORDER["properties"], "note": {}}}
    change = parameters(db, "order.created", wider)
    assert one(db, DROP)
    register(db, "order.created", {"type": "string"})
    with pytest.raises(errors.SerializationFailure):
        db.execute(PUT, change)


def test_a_version_that_was_not_checked_is_not_said(db: Session) -> None:
    register(db, "order.created", enforcement="report")
    insert: LiteralString = (
        "insert into outbox.message (channel, type, payload, type_version)"
        " values ('orders', %s, convert_to(%s, 'UTF8'), 7)"
    )
    for type_ in ("order.created", "order.other"):
        db.execute(insert, [type_, DOES_NOT])
    db.execute(insert, ["order.created", FITS])
    versions = "select array_agg(type_version order by id) from outbox.message"
    assert one(db, versions) == [None, None, 1]


def test_faults_are_forgotten_a_bounded_number_at_a_time(db: Session) -> None:
    for type_ in ("order.created", "order.paid"):
        register(db, type_, enforcement="report")
        publish: LiteralString = (
            "select count(outbox.publish('orders', %s, %s::json)) from generate_series(1, 130)"
        )
        db.execute(publish, [type_, DOES_NOT])
    trim: LiteralString = "select outbox.trim_event_faults(7, 20)"
    assert [one(db, trim) for _ in range(4)] == [20, 20, 20, 0]
    assert one(db, "select array_agg(faults) from outbox.event_type_state") == [130, 130]


def test_putting_what_is_there_already_writes_nothing(db: Session) -> None:
    register(db, "order.created", example=json.dumps({"orderId": "1"}))
    rows: LiteralString = (
        "select array_agg(row) from (select xmin::text || ctid::text as row from outbox.event_type"
        " union all select xmin::text || ctid::text from outbox.event_type_version) as rows"
    )
    before = one(db, rows)
    register(db, "order.created", example=json.dumps({"orderId": "1"}))
    assert one(db, rows) == before
