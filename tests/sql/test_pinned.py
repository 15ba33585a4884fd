"""What others make depend on a partition: temporary objects keep none, a permanent one is named."""

from dataclasses import dataclass
from typing import LiteralString

import pytest
from psycopg import sql

from tests.sql.conftest import Member, Open
from tests.sql.log import Session, let_days_pass, one, pass_everything, publish, turn

PARTITION = "message_0"

# By oids, as a login without any right in the schema has to.
TEMPORARY: dict[str, LiteralString] = {
    "a view": "create temporary view pin as select {table}::regclass as it",
    "a view of a view": "create temporary view pin as select {table}::regclass as it;\n"
    "create temporary view pin_2 as select it from pin",
    "a view that names the type of its rows": "create temporary view pin as"
    " select {type}::regtype as it",
    "a view that names an index": "create temporary view pin as select {index}::regclass as it",
    "a default": "create temporary table pin (it regclass default {table}::regclass)",
    "a check": "create temporary table pin (it oid check (it <> {table}::regclass))",
    "a column of its rows": "create temporary table pin (it outbox.message_0)",
    "a column of a domain over its rows": "create domain pg_temp.pin_1 as outbox.message_0;\n"
    "create temporary table pin (it pg_temp.pin_1[])",
    "a column of a view's rows": "create temporary view pin_1 as"
    " select null::outbox.message_0 as it;\n"
    "create temporary table pin (it pin_1)",
    "a function": "create function pg_temp.pin() returns regclass language sql"
    " begin atomic select {table}::regclass; end",
}
OIDS = """
    select class.oid::text, reltype::text,
           (select min(indexrelid)::text from pg_index where indrelid = class.oid)
    from pg_class as class where class.oid = %s::regclass
"""


def pin(session: Session, owner: Session, statements: LiteralString, table: str) -> None:
    found = owner.execute(OIDS, [table]).fetchone()
    assert found is not None
    names = ("table", "type", "index")
    literals = {name: sql.Literal(oid) for name, oid in zip(names, found, strict=True)}
    for statement in statements.split(";\n"):
        session.execute(sql.SQL(statement).format(**literals))


def retire(db: Session, partition: str = PARTITION) -> str:
    outcome: str = one(db, "select outbox.retire_partition(%s, 7)", partition)
    return outcome


def empty_old_partition(db: Session) -> None:
    """The first partition is past retention, and truncated."""
    publish(db)
    turn(db)
    let_days_pass(db, 30)
    pass_everything(db)
    assert retire(db) == "truncated"


def pinned(db: Session) -> dict[str, str]:
    return dict(db.execute("select partition, pinned_by from outbox.pinned_partitions()"))


@pytest.mark.parametrize("statements", TEMPORARY.values(), ids=TEMPORARY)
def test_a_temporary_object_of_any_login_keeps_no_partition(
    db: Session, member: Member, statements: LiteralString
) -> None:
    empty_old_partition(db)
    stranger = member("outbox_publisher")
    pin(stranger, db, statements, "outbox.message_0")
    assert PARTITION in pinned(db)
    assert retire(db) == "dropped"
    assert one(db, "select to_regclass('outbox.message_0')") is None
    assert pinned(db) == {}
    stranger.execute("discard temporary")


def test_a_temporary_view_in_use_keeps_it_for_as_long_and_is_named(
    db: Session, member: Member
) -> None:
    empty_old_partition(db)
    stranger = member("outbox_publisher")
    pin(stranger, db, TEMPORARY["a view"], "outbox.message_0")
    with stranger.transaction():
        stranger.execute("select it from pin")
        assert retire(db) == "locked"
        assert f"pin of {stranger.info.user} depends on it" in pinned(db)[PARTITION]
    assert retire(db) == "dropped"


# Each with its rule and its types.
MANY: LiteralString = (
    "do $$ begin for n in 1..40 loop execute format("
    "$view$create temporary view pin_%s as select {table}::regclass as it$view$, n"
    "); end loop; end $$"
)


def test_too_many_temporary_objects_are_named_and_no_writer_waits_for_them(
    db: Session, member: Member, open_session: Open
) -> None:
    empty_old_partition(db)
    stranger = member("outbox_publisher")
    pin(stranger, db, MANY, "outbox.message_0")
    reader = open_session()
    with reader.transaction():
        # It would be waited for with the lock that keeps writers out.
        reader.execute("lock table only outbox.message in access share mode")
        assert retire(db) == "pinned"
    told = pinned(db)[PARTITION]
    assert told.startswith("more than 100 objects, such as view ")
    assert f" of {stranger.info.user}" in told
    stranger.execute("discard temporary")
    assert retire(db) == "dropped"


PERMANENT: dict[str, LiteralString] = {
    "a view": "create view public.pin as select {table}::regclass as it",
    "a function of a temporary view": "create temporary view pin_2 as"
    " select {table}::regclass as it;\n"
    "create function public.pin() returns regclass language sql"
    " begin atomic select it from pg_temp.pin_2; end",
    "a default": "create table public.pin (it regclass default {table}::regclass)",
}
STANDS = """
    select to_regclass('public.pin') is not null or to_regproc('public.pin') is not null
"""


@pytest.mark.parametrize("statements", PERMANENT.values(), ids=PERMANENT)
def test_a_permanent_object_is_never_dropped_and_keeps_an_empty_partition(
    db: Session, open_session: Open, statements: LiteralString
) -> None:
    publish(db)
    pin(open_session(), db, statements, "outbox.message_0")
    turn(db)
    let_days_pass(db, 30)
    pass_everything(db)
    assert (retire(db), set(pinned(db))) == ("truncated", {PARTITION})
    assert (retire(db), one(db, STANDS)) == ("pinned", True)


def test_what_depends_is_named_with_its_owner(db: Session, member: Member) -> None:
    empty_old_partition(db)
    stranger = member("outbox_publisher")
    role = sql.Identifier(stranger.info.user)
    db.execute(sql.SQL("create schema own authorization {}").format(role))
    pin(stranger, db, "create view own.pin as select {table}::regclass as it", "outbox.message_0")
    assert pinned(db) == {PARTITION: f"view own.pin of {stranger.info.user} depends on it"}
    db.execute("drop schema own cascade")
    assert pinned(db) == {}


@dataclass(frozen=True)
class ByAge:
    name: str
    turn: LiteralString
    write: LiteralString
    width_days: int


BY_AGE = [
    ByAge(
        "sale.received_webhook",
        "select sale.turn_received(180)",
        "insert into sale.received_webhook (key, order_id, event_type)"
        " values ('k', gen_random_uuid(), 'ATTEMPT_SUCCESS')",
        45,
    ),
    ByAge(
        "outbox.attempt_log",
        "select outbox.turn_attempts(30)",
        "insert into outbox.attempt_log (subscription_id, message_id, idempotency_key, number,"
        " duration_seconds, relay) values (1, 1, 'k', 1, 0.1, 'test')",
        8,
    ),
]


@pytest.mark.parametrize("table", BY_AGE, ids=lambda table: table.name)
def test_of_tables_by_age_the_others_go_and_the_pinned_one_is_emptied(
    db: Session, table: ByAge
) -> None:
    for _ in range(3):
        db.execute(table.write)
        let_days_pass(db, table.width_days, table.name)
        db.execute(table.turn)
    pin(db, db, PERMANENT["a view"], f"{table.name}_0")
    pin(db, db, TEMPORARY["a default"], f"{table.name}_1")
    let_days_pass(db, 400, table.name)
    assert one(db, table.turn) >= 1
    first = f"{table.name}_0"
    assert one(db, "select to_regclass(%s)::text", first) == first
    assert one(db, "select pg_relation_size(%s)", first) == 0
    assert one(db, "select to_regclass(%s)", f"{table.name}_1") is None
    (name,) = pinned(db)
    assert name == first.partition(".")[2]
    # No session holds it.
    assert name not in one(db, "select outbox.partitions_left_out()")


@pytest.mark.parametrize("table", BY_AGE, ids=lambda table: table.name)
def test_of_tables_by_age_one_that_stays_is_emptied_though_the_table_is_in_use(
    db: Session, member: Member, open_session: Open, table: ByAge
) -> None:
    db.execute(table.write)
    let_days_pass(db, table.width_days, table.name)
    db.execute(table.turn)
    first = f"{table.name}_0"
    stranger = member("outbox_publisher")
    pin(stranger, db, MANY, first)
    let_days_pass(db, 400, table.name)
    reader = open_session()
    parent = sql.Identifier(*table.name.split("."))
    with reader.transaction():
        reader.execute(sql.SQL("lock table only {} in access share mode").format(parent))
        db.execute(table.turn)
        assert one(db, "select pg_relation_size(%s)", first) == 0
    db.execute(table.turn)
    assert one(db, "select to_regclass(%s)::text", first) == first
    stranger.execute("discard temporary")
