"""Messages of one group arrive in the order in which their transactions wrote them."""

from collections.abc import Callable

import pytest

from tests.eventually import eventually
from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

Read = Callable[[], list[int]]


@pytest.fixture
def database_url(any_database_url: str) -> str:
    return any_database_url


@pytest.fixture
def by_id(db: Session) -> Read:
    """The naive reader: whatever has a higher id than the last one seen."""
    last = 0

    def read() -> list[int]:
        nonlocal last
        found = db.execute("select id from outbox.message where id > %s order by id", [last])
        ids = [message_id for (message_id,) in found]
        last = max(ids, default=last)
        return ids

    return read


@pytest.fixture
def by_xid(db: Session) -> Read:
    """The reader that waits: below the oldest transaction in progress, by transaction and id."""
    last = ("0", 0)

    def read() -> list[int]:
        nonlocal last
        found = db.execute(
            "select xid::text, id from outbox.message where (xid, id) > (%s::xid8, %s)"
            " and xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid, id",
            last,
        ).fetchall()
        last = found[-1] if found else last
        return [message_id for _, message_id in found]

    return read


def late_commit(open_session: Open, read: Read) -> tuple[list[int], list[int]]:
    """The lower id commits after the higher one was read: what was committed, what was read."""
    slow, fast = open_session(), open_session()
    slow.execute("begin")
    lower = publish(slow, "a")
    higher = publish(fast, "b")
    arrived = read()
    slow.execute("commit")
    return [lower, higher], arrived + read()


def test_a_late_commit_arrives(open_session: Open, relay: Relay) -> None:
    committed, arrived = late_commit(open_session, relay.drain)
    assert sorted(arrived) == committed


def test_a_reader_by_id_loses_the_late_commit(open_session: Open, by_id: Read) -> None:
    committed, arrived = late_commit(open_session, by_id)
    assert arrived == committed[1:]


def early_xid(open_session: Open, read: Read) -> tuple[list[int], list[int]]:
    """The second writer of a group has the lower transaction id: what was written, and read."""
    db, early, holder = open_session(), open_session(), open_session()
    db.execute("create table parcel (id integer primary key, state integer)")
    db.execute("insert into parcel values (1, 0)")
    early.execute("begin")
    early.execute("select pg_current_xact_id()")
    holder.execute("begin")
    holder.execute("update parcel set state = 1 where id = 1")
    first = publish(holder, "parcel-1")
    holder.execute("commit")
    early.execute("update parcel set state = 2 where id = 1")
    second = publish(early, "parcel-1")
    early.execute("commit")
    return [first, second], read()


def test_who_got_the_row_lock_first_arrives_first(open_session: Open, relay: Relay) -> None:
    written, arrived = early_xid(open_session, relay.drain)
    assert arrived == written


def test_a_reader_by_transaction_inverts_them(open_session: Open, by_xid: Read) -> None:
    arrived: list[int] = []

    def patiently() -> list[int]:
        # It waits for the xmin horizon, which any transaction in the cluster holds back.
        arrived.extend(by_xid())
        assert len(arrived) == 2
        return arrived

    written, read = early_xid(open_session, lambda: eventually(patiently, 60))
    assert read == written[::-1]


def test_a_late_commit_arrives_before_what_its_group_wrote_after_it(
    open_session: Open, relay: Relay
) -> None:
    """Several groups, one delta: the late ones come first, each group in its order."""
    slow, fast = open_session(), open_session()
    slow.execute("begin")
    late = publish(slow, "a")
    others = [publish(fast, "b") for _ in range(3)]
    assert relay.drain() == others
    slow.execute("commit")
    after = [publish(fast, "a"), publish(fast, "b")]
    assert relay.drain(limit=1) == [late, *after]


def test_a_run_that_ends_in_the_middle_goes_on_where_it_ended(db: Session, relay: Relay) -> None:
    committed = [publish(db, f"g{n % 3}") for n in range(20)]
    cursor = relay.probe()[0]
    for _ in range(3):
        relay.run(cursor, limit=7)
    assert relay.sink.ids == committed
    assert relay.sink.runs[:2] == [7, 7]


def test_what_commits_during_a_delta_waits_for_the_next(
    open_session: Open, db: Session, relay: Relay
) -> None:
    """A delta's end is its snapshot: what commits behind its position comes with the next one."""
    slow = open_session()
    slow.execute("begin")
    late = publish(slow, "a")
    first = [publish(db, "b") for _ in range(4)]
    cursor = relay.probe()[0]
    relay.run(cursor, limit=2)
    slow.execute("commit")
    more = publish(db, "b")
    assert relay.drain(limit=1) == [*first[2:], late, more]
