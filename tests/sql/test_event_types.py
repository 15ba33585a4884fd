"""The event catalogue in SQL: what is published as a type fits the version that is in force."""

import json
import threading
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import errors

from tests.event_types import DOES_NOT, FITS, ORDER, PUT, parameters, register
from tests.eventually import eventually
from tests.sql.conftest import Member, Open
from tests.sql.log import Session, one, turn

WAYS: dict[str, LiteralString] = {
    "publish": "select outbox.publish(%(channel)s, %(type)s, %(payload)s::json)",
    "publish_bytes": (
        "select outbox.publish_bytes(%(channel)s, %(type)s, convert_to(%(payload)s, 'UTF8'),"
        " 'application/json')"
    ),
    "insert": (
        "insert into outbox.message (channel, type, payload)"
        " values (%(channel)s, %(type)s, convert_to(%(payload)s, 'UTF8'))"
    ),
    "insert of many": """
        insert into outbox.message (channel, type, payload)
        select %(channel)s, %(type)s,
               convert_to(case n when 3 then %(payload)s else '{"orderId": "1"}' end, 'UTF8')
        from generate_series(1, 5) as n
    """,
}
MESSAGES = "select count(*) from outbox.message"
VERSIONS = "select array_agg(type_version order by id) from outbox.message"
# Whether the log pays for a check.
CHECKED = "select exists (select from pg_trigger where tgname = 'check_event_type')"


def publish(
    session: Session,
    payload: str = FITS,
    *,
    way: str = "publish",
    channel: str = "orders",
    type_: str = "order.created",
) -> None:
    session.execute(WAYS[way], {"channel": channel, "type": type_, "payload": payload})


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_fit_is_refused_whichever_way_it_comes(
    db: Session, member: Member, way: str
) -> None:
    register(db, "order.created")
    publisher = member("outbox_publisher")
    publish(publisher, way=way)
    before = one(db, MESSAGES)
    with pytest.raises(psycopg.DatabaseError) as refused:
        publish(publisher, DOES_NOT, way=way)
    said = refused.value.diag
    assert said.sqlstate == "OB422"
    assert said.message_primary == "a message of type order.created does not fit version 1"
    assert said.message_detail is not None
    assert said.message_detail.startswith('at "/orderId" (type): ')
    assert said.message_hint is not None
    assert "outbox-relay catalogue apply" in said.message_hint
    assert (said.table_name, said.column_name) == ("message", "payload")
    assert one(db, MESSAGES) == before


def test_a_copy_of_many_rows_is_refused_for_one(db: Session, member: Member) -> None:
    register(db, "order.created")
    with (
        pytest.raises(psycopg.DatabaseError, match="does not fit version 1"),
        member("outbox_publisher").cursor() as cursor,
        cursor.copy("copy outbox.message (channel, type, payload) from stdin") as copy,
    ):
        copy.write("".join(f"orders\torder.created\t{one}\n" for one in (FITS, DOES_NOT, FITS)))
    assert one(db, MESSAGES) == 0


def test_a_refusal_takes_the_publishers_own_transaction_back(db: Session) -> None:
    register(db, "order.created")
    db.execute("create table sold (n integer)")

    def sell() -> None:
        with db.transaction():
            db.execute("insert into sold values (1)")
            publish(db, DOES_NOT)

    with pytest.raises(psycopg.DatabaseError):
        sell()
    assert one(db, "select count(*) from sold") == 0


@pytest.mark.parametrize("payload", [b"\xff", b"", b"{", b"\xef\xbb\xbf{}"])
def test_bytes_that_are_no_json_do_not_fit(db: Session, payload: bytes) -> None:
    register(db, "order.created")
    with pytest.raises(psycopg.DatabaseError) as refused:
        db.execute(
            "select outbox.publish_bytes('orders', 'order.created', %s, 'application/json')",
            [payload],
        )
    assert refused.value.sqlstate == "OB422"


def test_a_message_says_which_version_it_fits(db: Session) -> None:
    register(db, "order.created")
    publish(db)
    wider = {**ORDER, "properties": {**ORDER["properties"], "note": {"type": "string"}}}
    assert register(db, "order.created", wider) == 2
    publish(db)
    publish(db, type_="order.other")
    assert one(db, VERSIONS) == [1, 2, None]


def test_a_publisher_cannot_say_it_by_itself(member: Member) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        member("outbox_publisher").execute(
            "insert into outbox.message (channel, type, payload, type_version)"
            " values ('orders', 't', '', 1)"
        )


def test_a_type_comes_in_its_channels_alone(db: Session) -> None:
    register(db, "order.created", channels=["orders", "orders.eu"])
    publish(db, channel="orders.eu")
    with pytest.raises(psycopg.DatabaseError) as refused:
        publish(db, channel="refunds")
    said = refused.value.diag
    assert (said.sqlstate, said.column_name) == ("OB422", "channel")
    assert said.message_detail == 'at "" (channel): the type is registered for orders, orders.eu'


def test_a_key_of_some_channels_says_nothing_of_others(db: Session) -> None:
    register(db, "order.created", of_key="tenant", channels=["tenant.orders"])
    publish(db, DOES_NOT, channel="orders")
    with pytest.raises(psycopg.DatabaseError):
        publish(db, DOES_NOT, channel="tenant.orders")
    assert one(db, VERSIONS) == [None]


def test_who_is_not_limited_takes_such_a_type_over(db: Session) -> None:
    register(db, "order.created", of_key="tenant", channels=["tenant.orders"])
    register(db, "order.created", channels=["tenant.orders"])
    with pytest.raises(psycopg.DatabaseError):
        publish(db, channel="orders")
    register(db, "order.created", of_key="tenant", channels=["tenant.orders"], owner="tenant")
    with pytest.raises(psycopg.DatabaseError):
        publish(db, channel="orders")


def test_the_platforms_own_events_are_nobodys_to_refuse(db: Session) -> None:
    register(db, "subscription.paused", False)
    db.execute("update outbox.subscription set paused = true")
    assert one(db, "select type from outbox.message") == "subscription.paused"
    with pytest.raises(errors.CheckViolation):
        register(db, "outbox.test")


def test_no_row_pays_for_a_check_while_no_type_is_enforced(db: Session) -> None:
    assert not one(db, CHECKED)
    register(db, "order.created", enforcement="off")
    assert not one(db, CHECKED)
    publish(db, DOES_NOT)
    register(db, "order.created", enforcement="report")
    assert one(db, CHECKED)
    assert not one(db, "select outbox.drop_event_check()")
    register(db, "order.created", enforcement="off")
    assert one(db, "select outbox.drop_event_check()")
    assert not one(db, CHECKED)
    assert not one(db, "select outbox.drop_event_check()")


def test_the_next_partitions_are_checked_as_well(db: Session) -> None:
    register(db, "order.created")
    turn(db)
    with pytest.raises(psycopg.DatabaseError):
        publish(db, DOES_NOT)


def test_a_writer_that_stays_open_is_named_and_held_up_for_a_moment_only(
    db: Session, open_session: Open
) -> None:
    writer, other = open_session(), open_session()
    with writer.transaction():
        publish(writer, type_="something")
        with pytest.raises(errors.LockNotAvailable) as held:
            register(db, "order.created")
        pid = writer.info.backend_pid
        assert held.value.diag.message_detail == f"They are: pid {pid} (RowExclusiveLock)."
        assert held.value.diag.table_name == "message"
        # Not again at once: others would wait behind each try.
        with pytest.raises(errors.LockNotAvailable):
            register(db, "order.created")
        publish(other, type_="something")
    with pytest.raises(errors.LockNotAvailable):
        register(db, "order.created")
    db.execute(
        "select setval('outbox.event_check_missed', last_value - 6) from outbox.event_check_missed"
    )
    assert register(db, "order.created") == 1


def test_a_writer_that_was_open_meanwhile_is_checked_from_its_next_statement_on(
    db: Session, open_session: Open
) -> None:
    register(db, "order.created")
    writer = open_session()
    with writer.transaction():
        publish(writer, DOES_NOT, type_="order.paid")
        register(db, "order.paid")
        with pytest.raises(psycopg.DatabaseError), writer.transaction():
            publish(writer, DOES_NOT, type_="order.paid")
    assert one(db, VERSIONS) == [None]


def test_what_is_only_reported_goes_through_and_is_counted(db: Session, member: Member) -> None:
    register(db, "order.created", enforcement="report")
    publisher = member("outbox_publisher")
    for payload in (FITS, DOES_NOT, '{"orderId": "1", "secret": 1}', "{}"):
        publish(publisher, payload)
    publish(publisher, channel="refunds")
    assert one(db, VERSIONS) == [1, None, None, None, None]
    rows = db.execute(
        "select message_id = m.id, version, f.channel, pointer, keyword"
        " from outbox.event_type_fault f join outbox.message m on m.id = message_id order by f.id"
    ).fetchall()
    assert rows[0] == (True, 1, "orders", "/orderId", "type")
    assert rows[2] == (True, 1, "orders", "/orderId", "required")
    assert rows[3] == (True, 1, "refunds", "", "channel")
    state = db.execute(
        "select faults, last_pointer, last_keyword from outbox.event_type_state"
    ).fetchall()
    assert state == [(4, "", "channel")]


def test_publishers_of_what_is_reported_do_not_wait_for_each_other(
    db: Session, open_session: Open
) -> None:
    register(db, "order.created", enforcement="report")
    first, second = open_session(), open_session()
    second.execute("set lock_timeout = '2s'")
    with first.transaction():
        publish(first, DOES_NOT)
        publish(second, DOES_NOT)
        publish(second)
    assert one(db, "select faults from outbox.event_type_state") == 2


def test_the_last_hundred_faults_of_a_type_are_kept_and_all_are_counted(db: Session) -> None:
    register(db, "order.created", enforcement="report")
    register(db, "order.paid", enforcement="report")
    publish(db, DOES_NOT, type_="order.paid")
    for _ in range(130):
        publish(db, DOES_NOT)
    assert one(db, "select outbox.trim_event_faults(7, 1000)") == 30
    assert one(db, "select outbox.trim_event_faults(7, 1000)") == 0
    state = "select array_agg(faults order by type) from outbox.event_type_state"
    assert one(db, state) == [130, 1]
    assert one(db, "select count(*) from outbox.event_type_fault") == 101
    db.execute("update outbox.event_type_fault set at = at - interval '8 days'")
    assert one(db, "select outbox.trim_event_faults(7, 1000)") == 101
    assert one(db, state) == [130, 1]


def test_a_fault_that_is_taken_back_is_none(db: Session) -> None:
    register(db, "order.created", enforcement="report")
    with db.transaction(force_rollback=True):
        publish(db, DOES_NOT)
    assert one(db, "select faults from outbox.event_type_state") == 0


def test_the_same_schema_makes_no_version(db: Session) -> None:
    assert register(db, "order.created") == 1
    turned = dict(reversed(ORDER.items()))
    assert json.dumps(turned) != json.dumps(ORDER)
    assert register(db, "order.created", turned, description="orders", owner="team") == 1
    assert one(db, "select count(*) from outbox.event_type_version") == 1
    assert one(db, "select description from outbox.event_type") == "orders"


def test_true_and_one_are_two_schemas(db: Session) -> None:
    def of(value: Any) -> Any:
        return {**ORDER, "properties": {**ORDER["properties"], "n": {"const": value}}}

    assert register(db, "order.created", of(True)) == 1
    assert register(db, "order.created", of(1), compatibility="none") == 2
    assert register(db, "order.created", of(1.0), compatibility="none") == 2


def test_a_change_that_did_not_see_another_is_refused(db: Session) -> None:
    new = parameters(db, "order.created")
    assert register(db, "order.created") == 1
    with pytest.raises(errors.SerializationFailure):
        db.execute(PUT, new)
    wider = {**ORDER, "properties": {**ORDER["properties"], "note": {}}}
    change = parameters(db, "order.created", wider)
    other = {**ORDER, "properties": {**ORDER["properties"], "remark": {}}}
    assert register(db, "order.created", other) == 2
    with pytest.raises(errors.SerializationFailure):
        db.execute(PUT, change)


def test_of_two_registrations_at_once_one_is_refused(db: Session, open_session: Open) -> None:
    one_of_them, other = open_session(), open_session()
    put = parameters(db, "order.created")
    outcomes: list[object] = []

    def race() -> None:
        try:
            outcomes.append(other.execute(PUT, put).fetchone())
        except errors.SerializationFailure as lost:
            outcomes.append(lost)

    with one_of_them.transaction():
        one_of_them.execute(PUT, put)
        racer = threading.Thread(target=race)
        racer.start()
        waits = "select count(*) from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        eventually(lambda: one(db, waits, other.info.backend_pid) == 1)
    racer.join(timeout=10)
    assert isinstance(outcomes[0], errors.SerializationFailure)


def test_the_line_begins_anew_with_a_version_that_was_made_under_none(db: Session) -> None:
    register(db, "order.created")
    other = {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}}
    register(db, "order.created", other, compatibility="none")
    line = db.execute(
        "select version, is_same from outbox.event_type_line('order.created', %s)",
        [json.dumps(other)],
    ).fetchall()
    assert line == [(2, True)]


def test_an_example_has_to_fit(db: Session) -> None:
    with pytest.raises(errors.CheckViolation, match='does not fit the schema: at "/orderId"'):
        register(db, "order.created", example=DOES_NOT)
    assert register(db, "order.created", example=FITS) == 1


def test_a_type_that_nobody_published_is_deleted(db: Session) -> None:
    # What came before counts as little as what was taken back.
    publish(db)
    register(db, "order.created")
    with db.transaction(force_rollback=True):
        publish(db)
    drop: LiteralString = "select outbox.drop_event_type('order.created')"
    assert one(db, drop)
    assert not one(db, drop)
    assert one(db, "select count(*) from outbox.event_type_version") == 0


@pytest.mark.parametrize("enforcement", ["off", "report", "refuse"])
def test_a_type_that_was_published_stays(db: Session, enforcement: str) -> None:
    register(db, "order.created", enforcement=enforcement)
    publish(db)
    with pytest.raises(errors.CheckViolation, match=r"messages of type order\.created were"):
        db.execute("select outbox.drop_event_type('order.created')")


def test_it_stays_when_the_log_has_forgotten_its_messages(db: Session) -> None:
    register(db, "order.created")
    publish(db)
    db.execute("truncate outbox.message")
    with pytest.raises(errors.CheckViolation):
        db.execute("select outbox.drop_event_type('order.created')")


def test_the_first_publishers_of_a_type_do_not_wait_for_each_other(
    db: Session, open_session: Open
) -> None:
    register(db, "order.created")
    first, second = open_session(), open_session()
    second.execute("set lock_timeout = '2s'")
    with first.transaction():
        publish(first)
        publish(second)
    for _ in range(3):
        publish(db)
    assert one(db, "select count(*) from outbox.published_event_type") == 2


def test_there_are_no_more_types_than_the_quota_allows(db: Session) -> None:
    db.execute("update outbox.quota set event_types = 20")
    for n in range(2):
        register(db, f"mine.{n}", of_key="key")
    with pytest.raises(errors.CheckViolation, match=r"of at most 2 .* named key .* are 2 already"):
        register(db, "mine.2", of_key="key")
    for n in range(18):
        register(db, f"t{n}")
    with pytest.raises(errors.CheckViolation, match="of at most 20"):
        register(db, "more")


def test_all_limited_keys_together_leave_types_to_the_others(db: Session) -> None:
    db.execute("update outbox.quota set event_types = 20")
    for n in range(18):
        register(db, f"mine.{n}", of_key=f"key {n // 2}")
    with pytest.raises(errors.CheckViolation) as refused:
        register(db, "mine.18", of_key="key 9")
    # How many there are is none of its business.
    assert not any(digit in str(refused.value.diag.message_primary) for digit in "0123456789")
    for n in range(2):
        register(db, f"t{n}")


def test_versions_of_a_limited_key_have_a_bound_on_the_disk(db: Session) -> None:
    anew = {"compatibility": "none", "enforcement": "off"}
    mine, others = ({"of_key": name, "made_by": name, **anew} for name in ("key", "other"))
    register(db, "mine", True, **mine)
    db.execute("update outbox.quota set event_type_bytes_of_a_key = 1")
    with pytest.raises(errors.CheckViolation, match=r"of at most 1 bytes .* named key"):
        register(db, "mine", False, **mine)
    # What makes no version takes no room.
    assert register(db, "mine", True, owner="shop", **mine) == 1
    register(db, "theirs", True, **others)
    assert register(db, "mine", False, **anew) == 2


def test_a_logical_copy_goes_on_with_ids_of_its_own(db: Session) -> None:
    register(db, "order.created", enforcement="report")
    publish(db, DOES_NOT)
    for table in ("event_type", "event_type_fault", "published_event_type"):
        db.execute("select setval(pg_get_serial_sequence(%s, 'id'), 1, false)", [f"outbox.{table}"])
    db.execute("select outbox.rebase()")
    register(db, "order.paid", enforcement="report")
    publish(db, DOES_NOT, type_="order.paid")
    publish(db, DOES_NOT)
    assert one(db, "select array_agg(faults order by type) from outbox.event_type_state") == [2, 1]


@pytest.mark.parametrize("group", ["outbox_publisher", "outbox_relay", "outbox_reader"])
def test_the_service_alone_registers_and_deletes(member: Member, db: Session, group: str) -> None:
    put = parameters(db, "order.created")
    session = member(group)
    with pytest.raises(errors.InsufficientPrivilege):
        session.execute(PUT, put)
    with pytest.raises(errors.InsufficientPrivilege):
        session.execute("select outbox.drop_event_type('order.created')")
    assert one(member("outbox_service"), "select 1") == 1


def test_the_service_registers_by_that_function_alone(db: Session, member: Member) -> None:
    put = parameters(db, "order.created")
    service = member("outbox_service")
    assert service.execute(PUT, put).fetchone() == (1,)
    for statement in (
        "update outbox.event_type set enforcement = 'off'",
        "delete from outbox.event_type",
        "insert into outbox.event_type_fault (event_type_id, version, message_id, channel,"
        " pointer, keyword) values (1, 1, 1, 'c', '', '')",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement)
