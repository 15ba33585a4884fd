"""A batch enters as one, and a row that the log refuses fails no other."""

from psycopg import errors

from relay.database import connect, transaction
from relay.settings import Settings
from relay.sources.entering import enter
from relay.sources.entry import Entry
from tests.event_types import LINES, MANY, many_lines, register
from tests.sql.log import Session


def entries(number: int) -> list[Entry]:
    return [
        ("shop", "t", f"g{n % 7}", f"key-{n}", None, "text/plain", b"%d" % n) for n in range(number)
    ]


def settings(database_url: str) -> Settings:
    return Settings.from_environment({"DATABASE_URL": database_url})


def test_rows_that_the_log_refuses_fail_alone_and_the_others_keep_their_order(
    database_url: str, db: Session
) -> None:
    db.execute("alter table outbox.message add constraint own check (payload <> '13'::bytea)")
    given = entries(500)
    # The log's own rules, which the checks before it know: 250 has a dot.
    given[250] = ("shop", "t", None, "a.b", None, "text/plain", b"250")
    with connect(settings(database_url)) as connection, transaction(connection):
        refused = enter(connection, given, 2)
    assert sorted(refused) == [13, 250]
    assert "own" in refused[13]
    rows = db.execute("select payload from outbox.message order by id").fetchall()
    assert [int(payload) for (payload,) in rows] == [n for n in range(500) if n not in (13, 250)]
    assert db.execute("select distinct priority from outbox.message").fetchall() == [(2,)]


def test_a_rolled_back_batch_leaves_nothing(database_url: str, db: Session) -> None:
    with connect(settings(database_url)) as connection:
        try:
            with transaction(connection):
                enter(connection, entries(10), 3)
                connection.execute("select 1 / 0")
        except errors.DivisionByZero:
            pass
    assert db.execute("select count(*) from outbox.message").fetchone() == (0,)


def test_what_does_not_fit_its_event_type_is_refused_alone_and_says_why(
    database_url: str, db: Session
) -> None:
    register(db, "t", {"type": "object"}, channels=["shop"])
    given = [("shop", "t", None, f"key-{n}", None, "text/plain", b"{}") for n in range(20)]
    given[7] = ("shop", "t", None, "key-7", None, "text/plain", b"7")
    with connect(settings(database_url)) as connection, transaction(connection):
        refused = enter(connection, given, 3)
    assert list(refused) == [7]
    assert refused[7].startswith("a message of type t does not fit version 1: at ")
    assert db.execute("select count(*) from outbox.message").fetchone() == (19,)


def test_a_large_one_that_does_not_fit_is_refused_alone_and_soon(
    database_url: str, db: Session
) -> None:
    register(db, "t", LINES, channels=["shop"])
    given = [("shop", "t", None, f"key-{n}", None, "text/plain", b"[]") for n in range(8)]
    given[5] = ("shop", "t", None, "key-5", None, "text/plain", many_lines().encode())
    with connect(settings(database_url)) as connection, transaction(connection):
        connection.execute("set local statement_timeout = '5s'")
        refused = enter(connection, given, 3)
    assert list(refused) == [5]
    assert f'at "/{MANY}/sku" (type)' in refused[5]
