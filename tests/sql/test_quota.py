"""There are so many cursors and no more, by any role and however many are made at once."""

import threading

import psycopg
import pytest
from psycopg import errors, sql

from tests.eventually import eventually
from tests.sql.conftest import Member, Open
from tests.sql.log import Session, one

MAKE = "insert into outbox.subscription (name, shards) values (%s, %s)"
SUBSCRIBE = "select outbox.subscribe(%s, 'orders', 'https://a.example/', shards => %s)"
CURSORS = "select count(*) from outbox.cursor where channel is null"
# There are those of `kafka` from the beginning.
FIRST = 5


def bound(db: Session, cursors: int) -> None:
    db.execute("update outbox.quota set cursors = %s", [cursors])


def test_what_is_beyond_the_quota_is_refused_with_the_number_the_bound_and_the_mend(
    db: Session,
) -> None:
    bound(db, FIRST + 5 * 8)
    db.execute(MAKE, ["fits", 3])
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(MAKE, ["wide", 6])
    diag = refused.value.diag
    assert diag.message_primary == (
        "shards = 6 takes 30 cursors, and of at most 45 there are 20 already: take fewer shards, "
        "delete a subscription that is not needed, or raise outbox.quota.cursors as the owner"
    )
    assert (diag.table_name, diag.column_name) == ("subscription", "shards")
    db.execute(MAKE, ["exactly", 5])
    assert one(db, CURSORS) == 45


def test_by_default_there_are_at_most_5000_cursors(db: Session) -> None:
    fit = (5000 - FIRST) // (5 * 64)
    for number in range(fit):
        db.execute(MAKE, [f"s-{number}", 64])
    with pytest.raises(errors.CheckViolation):
        db.execute(MAKE, ["beyond", 64])
    db.execute(MAKE, ["small", (5000 - FIRST - fit * 5 * 64) // 5])
    assert one(db, CURSORS) == 5000


def test_many_in_one_statement_or_transaction_are_counted(db: Session) -> None:
    bound(db, FIRST + 5 * 4)
    with pytest.raises(errors.CheckViolation):
        db.execute(
            "insert into outbox.subscription (name) select 's-' || n from generate_series(1, 5) n"
        )
    db.execute("begin")
    for number in range(4):
        db.execute(SUBSCRIBE, [f"s-{number}", 1])
    with pytest.raises(errors.CheckViolation):
        db.execute(SUBSCRIBE, ["s-4", 1])
    db.execute("rollback")
    assert one(db, CURSORS) == FIRST


@pytest.mark.parametrize("isolation", list(psycopg.IsolationLevel))
def test_two_at_once_do_not_pass_together(
    db: Session, open_session: Open, isolation: psycopg.IsolationLevel
) -> None:
    bound(db, FIRST + 5 * 3)
    second = open_session()
    second.isolation_level = isolation
    db.execute("begin")
    db.execute(MAKE, ["first", 2])
    refusals: list[Exception] = []

    def make() -> None:
        try:
            with second.transaction():
                # Its snapshot, where it has one, is from before the first commits.
                second.execute("select count(*) from outbox.cursor")
                second.execute(MAKE, ["second", 2])
        except psycopg.Error as refusal:
            refusals.append(refusal)

    thread = threading.Thread(target=make)
    thread.start()

    def waits() -> None:
        waiting = "select wait_event_type from pg_stat_activity where pid = %s"
        assert one(db, waiting, second.info.backend_pid) == "Lock"

    eventually(waits)
    db.execute("commit")
    thread.join(20)
    assert isinstance(refusals[0], errors.CheckViolation | errors.SerializationFailure)
    assert one(db, CURSORS) == FIRST + 10


def test_a_deleted_subscription_leaves_room(db: Session) -> None:
    bound(db, FIRST + 5)
    db.execute(MAKE, ["one", 1])
    with pytest.raises(errors.CheckViolation):
        db.execute(MAKE, ["other", 1])
    db.execute("delete from outbox.subscription where name = 'one'")
    db.execute(MAKE, ["other", 1])


def test_a_channel_that_waits_alone_takes_no_room(db: Session) -> None:
    bound(db, FIRST + 5)
    db.execute(
        "insert into outbox.cursor (subscription_id, shard, priority, channel)"
        " select id, 0, 3, 'c-' || n from outbox.subscription, generate_series(1, 50) n"
    )
    db.execute(MAKE, ["one", 1])


@pytest.mark.parametrize(
    "group", ["outbox_publisher", "outbox_service", "outbox_relay", "outbox_reader"]
)
def test_the_quota_is_the_owners(member: Member, group: str) -> None:
    for statement in (
        "update outbox.quota set cursors = 1000000",
        "update outbox.quota set limited_percent = 50",
        "delete from outbox.quota",
        "select from outbox.quota for update",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            member(group).execute(statement)


def test_the_service_is_bound_by_it(db: Session, member: Member) -> None:
    bound(db, FIRST + 5)
    service = member("outbox_service")
    service.execute(SUBSCRIBE, ["one", 1])
    with pytest.raises(errors.CheckViolation, match="as the owner"):
        service.execute(SUBSCRIBE, ["other", 1])


LIMITED = "select outbox.subscribe(%s, 'orders', 'https://h/', shards => %s, made_by => %s)"


def test_by_default_a_limited_key_may_have_a_tenth(db: Session) -> None:
    db.execute(LIMITED, ["wide", 64, "checkout"])
    with pytest.raises(errors.CheckViolation, match=r"of at most 500 .* named checkout"):
        db.execute(LIMITED, ["wider", 37, "checkout"])
    db.execute(LIMITED, ["exactly", 36, "checkout"])
    db.execute(LIMITED, ["other", 64, "billing"])
    db.execute(MAKE, ["own", 64])


def test_what_a_limited_key_makes_in_one_transaction_is_counted(db: Session) -> None:
    db.execute("begin")
    db.execute(LIMITED, ["first", 64, "checkout"])
    with pytest.raises(errors.CheckViolation, match="there are 320 already"):
        db.execute(LIMITED, ["second", 64, "checkout"])
    db.execute("rollback")
    assert one(db, CURSORS) == FIRST


def test_limited_keys_leave_a_tenth_to_the_others(db: Session) -> None:
    bound(db, 200)
    for number in range(8):
        db.execute(LIMITED, [f"s-{number}", 4, f"key-{number}"])
    with pytest.raises(errors.CheckViolation, match="and there is no room for them: take"):
        db.execute(LIMITED, ["s-8", 4, "key-8"])
    db.execute(MAKE, ["own", 7])
    assert one(db, CURSORS) == 200


@pytest.mark.parametrize("percent", [-1, 51])
def test_the_share_of_limited_keys_has_its_bounds(db: Session, percent: int) -> None:
    with pytest.raises(errors.CheckViolation, match="limited_percent_is_0_to_50"):
        db.execute("update outbox.quota set limited_percent = %s", [percent])


@pytest.mark.parametrize("column", ["channels", "types"])
@pytest.mark.parametrize(("number", "length"), [(1001, 1), (1000, 300)])
def test_a_subscription_lists_no_more_than_each_relay_can_hold(
    db: Session, column: str, number: int, length: int
) -> None:
    listed = [f"{one:0{length}}" for one in range(number)]
    change = sql.SQL("update outbox.subscription set {} = %s").format(sql.Identifier(column))
    with pytest.raises(errors.CheckViolation, match=f"{column}_are_at_most_1000"):
        db.execute(change, [listed])
    db.execute(change, [[f"c{one}" for one in range(1000)]])
