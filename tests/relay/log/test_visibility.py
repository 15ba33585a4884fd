"""No other transaction holds a relay back, and a relay sees only what committed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

pytestmark = pytest.mark.long


@pytest.fixture
def database_url(any_database_url: str) -> str:
    return any_database_url


@contextmanager
def in_another_table(holder: Session) -> Iterator[None]:
    holder.execute("create table elsewhere (id integer)")
    with holder.transaction():
        holder.execute("insert into elsewhere values (1)")
        yield


@contextmanager
def in_another_database(holder: Session) -> Iterator[None]:
    url = make_conninfo(holder.info.dsn, dbname="postgres")
    with psycopg.connect(url) as other_database:
        other_database.execute("select pg_current_xact_id()")
        yield


@contextmanager
def with_a_message_of_its_own(holder: Session) -> Iterator[None]:
    with holder.transaction():
        publish(holder, "held")
        yield


@contextmanager
def with_an_old_snapshot(holder: Session) -> Iterator[None]:
    holder.execute("begin isolation level repeatable read")
    holder.execute("select from outbox.message")
    yield
    holder.execute("commit")


@contextmanager
def prepared(holder: Session) -> Iterator[None]:
    name = sql.Literal(holder.info.dbname)
    holder.execute("begin")
    publish(holder, "held")
    holder.execute(sql.SQL("prepare transaction {}").format(name))
    yield
    holder.execute(sql.SQL("commit prepared {}").format(name))


Hold = Callable[[Session], "ExitStack"]


@pytest.mark.parametrize(
    "held",
    [
        in_another_table,
        in_another_database,
        with_a_message_of_its_own,
        with_an_old_snapshot,
        prepared,
    ],
)
def test_a_transaction_that_stays_open_delays_no_other(
    open_session: Open, db: Session, relay: Relay, held: Hold
) -> None:
    with held(open_session()):
        for _ in range(3):
            message = publish(db, "a")
            assert relay.drain() == [message]


@pytest.mark.parametrize("held", [with_a_message_of_its_own, prepared])
def test_its_own_messages_arrive_when_it_commits_at_last(
    open_session: Open, db: Session, relay: Relay, held: Hold
) -> None:
    with held(open_session()):
        publish(db, "a")
        relay.drain()
    relay.drain()
    assert [one.group_key for one in relay.sink.arrivals] == ["a", "held"]


def test_what_was_rolled_back_is_never_delivered(
    open_session: Open, db: Session, relay: Relay
) -> None:
    writer = open_session()
    with writer.transaction(force_rollback=True):
        publish(writer, "a")
        publish(db, "b")
        relay.drain()
    last = publish(db, "a")
    relay.drain()
    assert [one.group_key for one in relay.sink.arrivals] == ["b", "a"]
    assert relay.sink.ids[-1] == last


def test_of_savepoints_only_what_was_kept_arrives_in_order(db: Session, relay: Relay) -> None:
    with db.transaction():
        kept = [publish(db, "a")]
        with db.transaction():
            kept.append(publish(db, "a", channel="parcels"))
            with db.transaction(force_rollback=True):
                publish(db, "a")
            kept.append(publish(db, "a"))
        with db.transaction(force_rollback=True), db.transaction():
            publish(db, "b", channel="parcels")
        kept.append(publish(db, "a"))
    assert relay.drain(limit=1) == kept


def test_messages_of_one_transaction_in_several_channels_all_arrive(
    db: Session, relay: Relay
) -> None:
    channels = ["orders", "parcels", "orders", "invoices"]
    with db.transaction():
        written = [publish(db, "a", channel=channel) for channel in channels]
    assert relay.drain() == written
    assert [one.channel for one in relay.sink.arrivals] == channels
