"""outbox.connect_in: what an inward connector takes in, and what of it may change."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.sql.log import Session, one

BROKERS = "b-1.example.com:9092,b-2.example.com:9093"


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"


DEAD_LETTERS = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, header_names, header_values, reason, detail)
    select source_id, 'shop', 0, n, '{}', '{}', 'refused', 'as a test wants it'
    from unnest(%s::bigint[]) as source_id cross join generate_series(1, 2) as n
    returning id
"""


DISCARD = "select outbox.discard_source_dead_letters(%s::bigint, %s::bigint[])"


def test_of_inward_connectors_only_named_dead_letters_are_forgotten(db: Session) -> None:
    one_id, other_id = (
        one(db, "select outbox.connect_in(%s, 'orders', 'kafka', %s)", name, Jsonb({"topic": name}))
        for name in ("shop", "store")
    )
    ids = [found for (found,) in db.execute(DEAD_LETTERS, [[one_id, other_id]])]
    left = "select array_agg(id order by id) from outbox.source_dead_letter"
    assert one(db, DISCARD, None, None) == 0
    assert one(db, DISCARD, other_id, ids[:1]) == 0
    assert one(db, left) == ids
    assert one(db, DISCARD, one_id, None) == 2
    assert one(db, DISCARD, None, ids[2:3]) == 1
    assert one(db, left) == ids[3:]


CONNECT_IN = "select outbox.connect_in('shop', 'orders', %s, %s, priority => %s)"


FROM_QUEUE = {"queue_url": QUEUE, "region": "eu-central-1"}


FROM_TOPIC = {"topic": "shop.orders", "brokers": BROKERS}


def test_what_an_inward_connector_takes_in_has_one_priority_from_1_to_5(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 1])
    db.execute("select outbox.connect_in('store', 'orders', 'sqs', %s)", [Jsonb(FROM_QUEUE)])
    found = db.execute("select name, priority from outbox.source_state order by name")
    assert found.fetchall() == [("shop", 1), ("store", 3)]
    for priority in (0, 6):
        with pytest.raises(errors.CheckViolation, match="source_priority_is_1_to_5"):
            db.execute(CONNECT_IN, ["kafka", Jsonb({"topic": "t"}), priority])


CHANGE = "update outbox.source set settings = settings || %s returning settings"


@pytest.mark.parametrize(
    ("kind", "config", "name", "other"),
    [
        ("kafka", FROM_TOPIC, "topic", "shop.parcels"),
        ("sqs", FROM_QUEUE, "queue_url", QUEUE.replace("orders", "parcels")),
    ],
)
def test_what_is_taken_in_stays_the_same(
    db: Session, kind: str, config: dict[str, str], name: str, other: str
) -> None:
    db.execute(CONNECT_IN, [kind, Jsonb(config), 3])
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(CHANGE, [Jsonb({name: other})])
    assert (refused.value.diag.message_primary or "").startswith(
        f"settings.{name} is fixed at creation, since"
    )
    assert one(db, CHANGE, Jsonb({name: config[name]})) == config


def test_a_priority_stays_since_a_later_message_could_overtake(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 3])
    with pytest.raises(errors.CheckViolation, match="priority is fixed at creation: what comes"):
        db.execute("update outbox.source set priority = 1")


def test_where_it_is_taken_from_and_as_whom_may_change(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 3])
    change = {"brokers": "b-9.example.com:9093", "security": "ssl", "credentials": "shop"}
    assert one(db, CHANGE, Jsonb(change)) == {**FROM_TOPIC, **change}
