"""Acknowledged attempts of a run share rows of the log: each is there as it was made, and cheap."""

import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from relay.push.http.answer import Answer
from relay.push.item import Item
from relay.push.policy.settings import decode
from relay.push.policy.verdict import Verdict
from relay.push.state import attempts
from relay.push.target import Target
from tests.receiver import respond
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.sql.log import Session, one

MAX_WAL_BYTES = 120


def target(subscription_id: int = 1, attempts_log: str = "all") -> Target:
    """One whose subscription logs these of its attempts."""
    return Target(
        subscription_id=subscription_id,
        subscription="billing",
        endpoint=decode(f'{{"endpoint": "http://h/", "attempts_log": "{attempts_log}"}}'),
        keys=None,  # type: ignore[arg-type]
        clock=time.time() - time.monotonic(),
        most=32,
    )


def acknowledged(
    message_id: int, *, key: str = "", status: int = 204, seconds: float = 0.25, later: float = 0.0
) -> Item:
    """A message at its first attempt."""
    key = key or str(uuid.uuid4())
    return Item(
        message_id=message_id,
        row=(
            message_id,
            b"orders",
            b"paid",
            None,
            key.encode(),
            None,
            b"text/plain",
            b"",
            0,
            None,
            0,
        ),
        group_key=None,
        payload_bytes=0,
        held_bytes=0,
        sent_at=time.monotonic() + later,
        answer=Answer(status, None, "", b"", None, None, seconds),
        verdict=Verdict("acked", 1),
    )


@pytest.fixture
def log(stage: PushStage) -> Session:
    """A session over an empty log of attempts."""
    return stage.db


Logged = tuple[int, int, str, int, datetime, float, int | None]
LOGGED = """
select subscription_id, message_id, idempotency_key, number, at, duration_seconds::float8, status
from outbox.attempt order by message_id
"""


def as_logged(of: Target, item: Item) -> Logged:
    assert item.answer is not None
    assert item.row is not None
    at = datetime.fromtimestamp(of.clock + item.sent_at, UTC)
    key = item.row[4].decode()
    answer = item.answer
    return (of.subscription_id, item.message_id, key, 1, at, answer.seconds, answer.status)


def assert_logged(log: Session, of: Target, items: list[Item]) -> None:
    """Each as it was made, its time to a microsecond, and found by its message."""
    found = log.execute(LOGGED).fetchall()
    wanted = [as_logged(of, item) for item in sorted(items, key=lambda item: item.message_id)]
    for got, want in zip(found, wanted, strict=True):
        assert (*got[:4], *got[5:]) == (*want[:4], *want[5:])
        assert abs((got[4] - want[4]).total_seconds()) <= 2e-6
    for item in items:
        by_message = "select count(*) from outbox.attempts_at(%s)"
        assert one(log, by_message, item.message_id) == 1
    assert one(log, "select count(distinct id) from outbox.attempt") == len(items)


ROWS = "select count(*) from outbox.attempt_log"


@pytest.mark.parametrize(
    ("items", "rows"),
    [
        pytest.param(lambda: [acknowledged(1)], 1, id="one"),
        pytest.param(lambda: [acknowledged(n) for n in range(33, 0, -1)], 2, id="one too many"),
        pytest.param(lambda: [acknowledged(1), acknowledged(1000)], 1, id="far apart"),
        pytest.param(lambda: [acknowledged(1), acknowledged(1001)], 2, id="too far apart"),
        pytest.param(
            lambda: [acknowledged(n, key=f"{n}-{'k' * 120}") for n in range(1, 33)],
            4,
            id="long keys",
        ),
        pytest.param(
            lambda: [acknowledged(1, later=1700), acknowledged(2)], 1, id="begun before the first"
        ),
        pytest.param(
            lambda: [acknowledged(1), acknowledged(2, later=4000)], 2, id="hours between them"
        ),
        pytest.param(
            lambda: [acknowledged(1), acknowledged(2, status=200)], 2, id="another status"
        ),
    ],
)
def test_each_is_logged_as_it_was_made(
    log: Session, items: Callable[[], list[Item]], rows: int
) -> None:
    of, made = target(), items()
    attempts.write(log, [(of, item) for item in made], "relay")
    assert_logged(log, of, made)
    assert one(log, ROWS) == rows


def test_a_message_that_was_acknowledged_twice_is_there_twice(log: Session) -> None:
    attempts.write(log, [(target(), acknowledged(7)) for _ in range(2)], "relay")
    assert one(log, "select count(*) from outbox.attempts_at(7)") == 2


def test_subscriptions_share_no_row(log: Session) -> None:
    made = [(target(of), acknowledged(n)) for n in range(1, 4) for of in (1, 2)]
    attempts.write(log, made, "relay")
    rows = "select subscription_id, message_id, last_message_id from outbox.attempt_log order by 1"
    assert log.execute(rows).fetchall() == [(1, 1, 3), (2, 1, 3)]


def test_failed_attempts_and_those_after_them_have_rows_of_their_own(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe(retry=LATER)
    stage.receiver.react = respond(500)
    stage.publish("a:1", "b:1")
    relay.drain()
    stage.receiver.react = respond(204)
    stage.publish("c:1", "d:1")
    stage.let_time_pass()
    relay.drain()
    rows = """
        select idempotency_key, number, error, next_at is not null, cardinality(more_keys)
        from outbox.attempt_log order by number, idempotency_key
    """
    assert stage.db.execute(rows).fetchall() == [
        ("a:1", 1, "http_500", True, None),
        ("b:1", 1, "http_500", True, None),
        ("c:1", 1, None, False, 1),
        ("a:1", 2, None, False, None),
        ("b:1", 2, None, False, None),
    ]


@pytest.fixture
def writer(stage: PushStage) -> Iterator[Session]:
    """A session whose WAL is its own."""
    with psycopg.connect(stage.database_url, autocommit=True) as session:
        yield session


WAL = "select wal_bytes::bigint from pg_stat_get_backend_wal(pg_backend_pid())"


def written(session: Session) -> int:
    session.execute("select pg_stat_force_next_flush()")
    wal_bytes: int = one(session, WAL)
    return wal_bytes


@pytest.mark.parametrize("deliveries", [10, 100, 1000])
def test_a_logged_delivery_writes_little_wal(writer: Session, deliveries: int) -> None:
    """With the commit. The least of several: a page is logged whole after a checkpoint."""
    least = MAX_WAL_BYTES * deliveries * 100
    for run in range(5):
        first = 1 + run * deliveries
        made = [(target(), acknowledged(first + number)) for number in range(deliveries)]
        before = written(writer)
        with writer.transaction():
            attempts.write(writer, made, "relay-7d9c4b5f6-x2x4x:1")
        least = min(least, written(writer) - before)
    assert 0 < least <= MAX_WAL_BYTES * deliveries


@pytest.mark.parametrize("attempts_log", ["failures", "none"])
def test_an_acknowledged_delivery_that_is_not_to_be_logged_writes_no_wal(
    writer: Session, attempts_log: str
) -> None:
    made = [(target(attempts_log=attempts_log), acknowledged(number)) for number in range(100)]
    before = written(writer)
    with writer.transaction():
        attempts.write(writer, made, "relay")
    assert written(writer) == before
