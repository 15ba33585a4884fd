"""The log comes to endpoints in pages of so many bytes: none too large, and nothing left out."""

from relay.log.claim import claim, leave
from relay.log.message import ID, IDEMPOTENCY_KEY, Row, size
from relay.log.reading import PAGE_BYTES, Reading
from tests.relay.push.stage import PushRelay, PushStage
from tests.sql.log import Session

LARGEST = 980_000
INSERT = """
insert into outbox.message (channel, type, idempotency_key, headers, payload)
select 'orders', 'order.paid', 'k' || place, '{"a": "b"}', convert_to(repeat('x', size), 'UTF8')
from unnest(%s::integer[]) with ordinality as given (size, place)
"""
KEYS = "select idempotency_key from outbox.message where channel = 'orders' order by id"


def pages(relay: PushRelay) -> list[list[Row]]:
    """Of one run, of the one cursor that has work."""
    (cursor,) = relay.probe()
    claims = claim(relay.connection, [cursor], "test", 60)
    reading = Reading(relay.connection, claims, 20_000, blocking=True)
    read = list(reading.pages())
    assert reading.exhausted
    leave(relay.connection)
    return read


def expect(db: Session, read: list[list[Row]]) -> None:
    """Every message once and in order, in pages that end with the one that fills them."""
    ids = [row[ID] for page in read for row in page]
    assert ids == sorted(ids)
    keys = [row[IDEMPOTENCY_KEY].decode() for page in read for row in page]
    assert sorted(keys) == sorted(key for (key,) in db.execute(KEYS))
    for page in read:
        assert sum(size(row) for row in page[:-1]) < PAGE_BYTES


def test_large_messages_come_a_few_at_a_time(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    stage.db.execute(INSERT, [[LARGEST] * 15])
    read = pages(relay)
    expect(stage.db, read)
    assert max(map(len, read)) == 2


def test_small_messages_before_large_ones_make_no_large_page(
    stage: PushStage, relay: PushRelay
) -> None:
    """How many come at once is not guessed from those before."""
    stage.subscribe()
    stage.db.execute(INSERT, [[10] * 200 + [LARGEST] * 10 + [10] * 100])
    expect(stage.db, pages(relay))


def test_messages_that_committed_late_come_so_as_well(stage: PushStage, relay: PushRelay) -> None:
    stage.subscribe()
    with PushRelay(stage.database_url) as other, other.connection.transaction():
        other.connection.execute(INSERT, [[LARGEST] * 7])
        stage.publish("a:1")
        relay.drain()
    stage.publish("a:2")
    read = pages(relay)
    stage.db.execute("delete from outbox.message where idempotency_key = 'a:1'")
    expect(stage.db, read)
    assert max(map(len, read)) == 2
