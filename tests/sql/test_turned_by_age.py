"""Attempts and received webhooks: partitions turned to in time, dropped by age; no writer waits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import pytest
from psycopg import errors, sql

from tests.eventually import eventually
from tests.sql.conftest import Open
from tests.sql.log import Session, let_days_pass, one

ROOM = 100_000_000_000
PARTITIONS = """
    select class.relname::text, pg_get_expr(class.relpartbound, class.oid)
    from pg_inherits join pg_class as class on class.oid = inhrelid
    where inhparent = %s::regclass order by 1
"""
# What this transaction read and moved in a table and its partitions.
ROWS_TOUCHED = """
    select sum(pg_stat_get_xact_tuples_returned(relid) + pg_stat_get_xact_tuples_fetched(relid)
               + pg_stat_get_xact_tuples_inserted(relid) + pg_stat_get_xact_tuples_deleted(relid))
    from pg_partition_tree(%s)
"""


@dataclass(frozen=True)
class Table:
    name: LiteralString
    write: LiteralString
    note: LiteralString
    """The column that `write` fills with its parameter."""
    turn: LiteralString
    keep_days: int
    width_days: int
    """How long a partition is written to."""

    @property
    def short(self) -> str:
        return self.name.partition(".")[2]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))

    @property
    def first(self) -> str:
        return f"{self.short}_0"


RECEIVED = Table(
    "sale.received_webhook",
    "insert into sale.received_webhook (key, order_id, event_type)"
    " values (%s, gen_random_uuid(), 'ATTEMPT_SUCCESS')",
    "key",
    "select sale.turn_received(180)",
    180,
    45,
)
ATTEMPTS = Table(
    "outbox.attempt_log",
    "insert into outbox.attempt_log (subscription_id, message_id, idempotency_key, number,"
    " duration_seconds, relay) values (1, 1, %s, 1, 0.1, 'test')",
    "idempotency_key",
    "select outbox.turn_attempts(30)",
    30,
    8,
)


@pytest.fixture(params=[RECEIVED, ATTEMPTS], ids=lambda table: table.short)
def table(request: pytest.FixtureRequest) -> Table:
    found: Table = request.param
    return found


def partitions(db: Session, table: Table) -> list[str]:
    return [name for name, _ in db.execute(PARTITIONS, [table.name]).fetchall()]


def names(table: Table, *numbers: int) -> list[str]:
    return [f"{table.short}_{number}" for number in numbers]


def kept(db: Session, table: Table) -> dict[str, str]:
    """In which partition each row is."""
    question = sql.SQL("select {}, tableoid::regclass::text from {}").format(
        sql.Identifier(table.note), table.identifier
    )
    return {note: where.rpartition(".")[2] for note, where in db.execute(question).fetchall()}


def pass_width(db: Session, table: Table) -> int:
    """Lets the present partition become old enough to be left, and turns."""
    let_days_pass(db, table.width_days, table.name)
    turned: int = one(db, table.turn)
    return turned


def drop(db: Session, table: Table, name: str) -> None:
    schema = table.name.partition(".")[0]
    db.execute(sql.SQL("drop table {}").format(sql.Identifier(schema, name)))


def test_it_begins_with_one_to_write_to_and_one_ahead_and_a_second_call_makes_nothing(
    db: Session, table: Table
) -> None:
    assert one(db, table.turn) == 0
    db.execute(table.write, ["now"])
    assert kept(db, table) == {"now": table.first}
    assert partitions(db, table) == names(table, 0, 1)


def test_no_partition_is_a_default_that_a_new_one_is_scanned_for(db: Session, table: Table) -> None:
    pass_width(db, table)
    bounds = [bound for _, bound in db.execute(PARTITIONS, [table.name]).fetchall()]
    assert [bound for bound in bounds if bound == "DEFAULT"] == []


def test_a_missing_partition_ahead_is_left_out(db: Session, table: Table) -> None:
    drop(db, table, names(table, 1)[0])
    assert one(db, "select outbox.partitions_left_out()") == names(table, 1)


def test_a_copy_without_sequences_is_written_to_where_the_ids_had_come(
    db: Session, table: Table
) -> None:
    pass_width(db, table)
    db.execute(table.write, ["before"])
    drop(db, table, table.first)
    sequence = one(db, "select pg_get_serial_sequence(%s, 'id')", table.name)
    db.execute(sql.SQL("alter sequence {} restart").format(sql.Identifier(*sequence.split("."))))
    db.execute("select outbox.rebase()")
    db.execute(table.write, ["after"])
    assert kept(db, table) == dict.fromkeys(("before", "after"), names(table, 1)[0])


def test_a_turn_reads_and_moves_no_row_whatever_lies_there(
    db: Session, open_session: Open, table: Table
) -> None:
    open_session().cursor().executemany(table.write, [(str(number),) for number in range(500)])
    let_days_pass(db, table.width_days, table.name)
    drop(db, table, names(table, 1)[0])
    with db.transaction():
        assert one(db, table.turn) == 1
        assert one(db, ROWS_TOUCHED, table.name) == 0
        kept(db, table)
        assert one(db, ROWS_TOUCHED, table.name) == 500


def test_readers_and_writers_wait_for_no_turn_nor_it_for_them(
    db: Session, open_session: Open, table: Table
) -> None:
    reader, writer = open_session(), open_session()
    for session in (reader, writer):
        session.execute("set lock_timeout = '1ms'")
    with reader.transaction(), writer.transaction():
        kept(reader, table)
        writer.execute(table.write, ["early"])
        with db.transaction():
            assert pass_width(db, table) == 1
            writer.execute(table.write, ["between"])
            kept(reader, table)
        writer.execute(table.write, ["late"])
        kept(reader, table)
    zero, one_ = names(table, 0, 1)
    assert kept(db, table) == {"early": zero, "between": one_, "late": one_}


def test_without_anybody_to_turn_it_goes_on(db: Session, table: Table) -> None:
    let_days_pass(db, 3000, table.name)
    db.execute(table.write, ["late"])
    assert kept(db, table) == {"late": table.first}


def test_rows_are_kept_for_their_days_after_the_last_of_their_partition_and_no_longer(
    db: Session, table: Table
) -> None:
    db.execute(table.write, ["old"])
    assert pass_width(db, table) == 1
    db.execute(table.write, ["young"])
    let_days_pass(db, table.keep_days - 1, table.name)
    one(db, table.turn)
    assert table.first in partitions(db, table)
    let_days_pass(db, 1, table.name)
    one(db, table.turn)
    assert kept(db, table) == {"young": names(table, 1)[0]}
    assert table.first not in partitions(db, table)


def test_it_is_few_partitions_however_long_it_runs(db: Session, table: Table) -> None:
    for _ in range(20):
        pass_width(db, table)
    assert len(partitions(db, table)) <= 7


def test_what_others_hold_is_dropped_by_the_next_call(
    db: Session, open_session: Open, table: Table
) -> None:
    """And what is made meanwhile is made."""
    pass_width(db, table)
    let_days_pass(db, table.keep_days, table.name)
    writer = open_session()
    with writer.transaction():
        writer.execute(table.write, ["being written"])
        assert one(db, table.turn) == 1
        assert partitions(db, table) == names(table, 0, 1, 2, 3)
    assert one(db, table.turn) == 1
    assert partitions(db, table) == names(table, 1, 2, 3)


@contextmanager
def first_is_held(open_session: Open, table: Table) -> Iterator[None]:
    """By a reader's open transaction."""
    reader = open_session()
    first = sql.Identifier(table.name.partition(".")[0], table.first)
    with reader.transaction():
        reader.execute(sql.SQL("lock table {} in access share mode").format(first))
        yield


def test_one_partition_that_is_held_keeps_no_other(
    db: Session, open_session: Open, table: Table
) -> None:
    pass_width(db, table)
    pass_width(db, table)
    let_days_pass(db, table.keep_days, table.name)
    with first_is_held(open_session, table):
        one(db, table.turn)
        assert partitions(db, table) == names(table, 0, 2, 3, 4)
    assert one(db, table.turn) == 1


# As where no room for locks is left.
NO_ROOM = """
    create function public.refuse() returns event_trigger language plpgsql as $$
    begin
        if exists (
            select from pg_event_trigger_dropped_objects()
            where object_identity = current_setting('refuse.drop')
        ) then
            raise exception 'out of shared memory' using errcode = 'out_of_memory';
        end if;
    end $$;
    create event trigger refuse on sql_drop execute function public.refuse()
"""


def test_one_that_the_server_has_no_room_to_drop_keeps_no_other(db: Session, table: Table) -> None:
    pass_width(db, table)
    pass_width(db, table)
    let_days_pass(db, table.keep_days, table.name)
    db.execute(NO_ROOM)
    db.execute("select set_config('refuse.drop', %s, false)", [f"{table.name}_0"])
    one(db, table.turn)
    assert partitions(db, table) == names(table, 0, 2, 3, 4)
    db.execute("drop event trigger refuse")
    assert one(db, table.turn) == 1


# Whether writers would have waited for less than the table's lock may take: it is waited for longer
# than that wherever the whole time is given to a partition.
IN_TIME = sql.SQL("""
    with turned as materialized ({})
    select clock_timestamp() - statement_timestamp() < interval '80 ms' from turned
""")


def test_writers_wait_no_longer_where_a_session_holds_only_a_partition(
    db: Session, open_session: Open, table: Table
) -> None:
    pass_width(db, table)
    let_days_pass(db, table.keep_days, table.name)
    with first_is_held(open_session, table):
        one(db, table.turn)
        in_time = IN_TIME.format(sql.SQL(table.turn))

        def in_time_once() -> None:
            assert db.execute(in_time).fetchone() == (True,)

        # A busy machine may take longer by itself, but not each time.
        eventually(in_time_once)
        assert table.first in partitions(db, table)


def test_of_two_calls_at_once_one_does_it(db: Session, open_session: Open, table: Table) -> None:
    other = open_session()
    let_days_pass(db, table.width_days, table.name)
    with other.transaction():
        assert one(other, table.turn) == 1
        assert one(db, table.turn) == 0
    assert partitions(db, table) == names(table, 0, 1, 2)


def test_ids_that_begin_anew_find_their_partition(db: Session, table: Table) -> None:
    pass_width(db, table)
    let_days_pass(db, table.keep_days, table.name)
    one(db, table.turn)
    assert table.first not in partitions(db, table)
    truncate = sql.SQL("truncate {} restart identity").format(table.identifier)
    db.execute(truncate)
    db.execute(table.write, ["new"])
    assert kept(db, table) == {"new": names(table, 2)[0]}


@pytest.mark.parametrize("days", [0, -1])
def test_days_that_would_forget_every_webhook_are_refused(db: Session, days: int) -> None:
    db.execute(RECEIVED.write, ["now"])
    with pytest.raises(errors.InvalidParameterValue):
        db.execute("select sale.turn_received(%s)", [days])
    assert len(kept(db, RECEIVED)) == 1
