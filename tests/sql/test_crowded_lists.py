"""What one subscription has lying, be it much, costs the lists of all others next to nothing."""

from typing import Any, LiteralString

import pytest
from psycopg.rows import dict_row

from service.platform.deliveries import stats
from service.platform.subscriptions import view
from tests.sql.log import Session, one

QUIET = 20
CROWD = 40_000
MAKE: LiteralString = """
    select outbox.subscribe('quiet' || n, 'orders', 'https://h.example/')
    from generate_series(1, %(quiet)s) as n
    union all
    select outbox.subscribe('crowded', 'orders', 'https://h.example/')
"""
# Heads of 40,000 groups, and as many rows behind one that is parked.
FILL: LiteralString = """
    insert into outbox.delivery (cursor_id, message_id, group_key, due_at)
    select crowded.cursor_id, n, 'g' || n, clock_timestamp() + interval '1 day'
    from crowded cross join generate_series(1, %(crowd)s) as n
    union all
    select crowded.cursor_id, %(crowd)s + n, 'parked',
           case n when 1 then 'infinity'::timestamptz end
    from crowded cross join generate_series(1, %(crowd)s) as n
"""
ADD_DEAD_LETTER: LiteralString = """
    insert into outbox.dead_letter (subscription_id, cursor_id, message_id, channel, type, priority,
        idempotency_key, content_type, payload, created_at, reason, detail, attempts)
    select subscription_id, cursor_id, n, 'orders', 't', 3, 'k' || n, 'application/json', '{}',
           clock_timestamp(), 'refused', '', 9
    from crowded cross join generate_series(1, %(crowd)s) as n
"""
CROWDED: LiteralString = """
    create temporary table crowded as
    select cursor.id as cursor_id, subscription.id as subscription_id
    from outbox.cursor join outbox.subscription on subscription.id = cursor.subscription_id
    where subscription.name = 'crowded' and cursor.priority = 3
"""


@pytest.fixture
def crowded(db: Session) -> Session:
    """Twenty subscriptions that have nothing lying, and one that has much; analysed."""
    db.execute(MAKE, {"quiet": QUIET})
    db.execute(CROWDED)
    for statement in (FILL, ADD_DEAD_LETTER):
        db.execute(statement, {"crowd": CROWD})
    db.execute("vacuum analyze")
    return db


PAGE = {
    "first": 1,
    "last": 2**63 - 1,
    "after": 0,
    "rows": 51,
    "count": view.MAX_COUNTED,
    "look_at": stats.LOOKED_AT_PER_CURSOR,
}
LISTS: dict[str, LiteralString] = {"subscriptions": view.READ, "stats": stats.LIST}
# Pages of memory for each subscription that is listed; most are those of its five cursors.
FEW_PAGES = 250


def parameters(statement: str, **others: Any) -> dict[str, Any]:
    """Those that the statement names."""
    given = {**PAGE, "visible": None, "connectors": False, **others}
    return {name: value for name, value in given.items() if f"%({name})s" in statement}


def buffers(db: Session, statement: str, **others: Any) -> int:
    """How many pages a statement touches, planned for what it was given."""
    with db.transaction():
        db.execute("select set_config('plan_cache_mode', 'force_custom_plan', true)")
        explain = b"explain (analyze, buffers, format json) " + statement.encode()
        ((plans,),) = db.execute(explain, parameters(statement, **others) or None).fetchall()
    root = plans[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])


@pytest.mark.long
@pytest.mark.parametrize("name", LISTS)
def test_what_one_has_lying_is_not_read_for_the_others(crowded: Session, name: str) -> None:
    """Neither for a key that does not see it, nor once more for each that is listed with it."""
    quiet = one(
        crowded, "select array_agg(id) from outbox.subscription where starts_with(name, 'quiet')"
    )
    assert buffers(crowded, LISTS[name], visible=quiet) < FEW_PAGES * QUIET
    assert buffers(crowded, LISTS[name]) < FEW_PAGES * (QUIET + 2)


def test_the_summary_of_one_reads_nothing_of_another(crowded: Session) -> None:
    of_one = "select * from outbox.delivery_summary where subscription = 'quiet1'"
    assert buffers(crowded, of_one) < FEW_PAGES


@pytest.mark.long
@pytest.mark.parametrize("name", LISTS)
def test_of_what_is_lying_no_more_is_counted_than_is_said(crowded: Session, name: str) -> None:
    statement = LISTS[name]
    with crowded.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(statement, parameters(statement, count=100, look_at=100)).fetchall()
    (found,) = [row for row in rows if row["name"] == "crowded"]
    assert (found["untried"], found["in_flight"], found["parked"]) == (100, 0, 1)
    assert found["dead_letters"] == 100
    assert found.get("behind", 100) == 100
