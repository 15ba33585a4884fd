"""Each row of outbox.delivery is in exactly one state, in every place that shows or counts rows."""

from collections import Counter
from collections.abc import Callable
from typing import Any, LiteralString

import pytest
from psycopg.rows import dict_row

from relay.monitoring import status, undelivered
from relay.operate import subscription_list
from service.platform.deliveries import deliveries, stats
from service.platform.subscriptions import view
from tests.sql.log import SQL_DIRECTORY, Session, one, only_rows, publish

# Every combination that the table takes (its group, when it is due, token, outcome, attempts), and
# the state that it is.
ROWS: list[tuple[str, str | None, int | None, str | None, int, str]] = [
    ("behind", None, None, None, 0, "behind"),
    ("behind another", None, None, None, 0, "behind"),
    ("behind after an attempt", None, None, None, 1, "behind"),
    ("due first", "-1 minute", None, None, 0, "untried"),
    ("due first, later", "1 hour", None, None, 0, "untried"),
    ("due first, of a third", "-1 minute", None, None, 0, "untried"),
    ("due first, of a fourth", "-1 minute", None, None, 0, "untried"),
    ("due first, of a fifth", "-1 minute", None, None, 0, "untried"),
    ("due again", "-1 minute", None, None, 1, "retrying"),
    ("due again, later", "1 hour", None, None, 9, "retrying"),
    ("asked", "1 hour", 7, None, 0, "in_flight"),
    ("asked by a relay that is gone", "-1 minute", 7, None, 1, "in_flight"),
    ("acknowledged after its run", "-1 minute", None, "acked", 0, "in_flight"),
    ("refused after its run", "-1 minute", None, "dead", 1, "in_flight"),
    ("given up", "infinity", None, None, 3, "parked"),
    ("given up unsent", "infinity", None, None, 0, "parked"),
]
INSERT: LiteralString = """
    insert into outbox.delivery
        (cursor_id, message_id, group_key, due_at, token, outcome, attempts)
    select cursor.id, %s, %s,
           case when %s = 'infinity' then 'infinity' else clock_timestamp() + %s::interval end,
           %s, %s, %s
    from outbox.cursor join outbox.subscription on subscription.id = cursor.subscription_id
    where subscription.name = 'billing' and cursor.priority = 3
"""
BY_STATE = Counter(state for *_, state in ROWS)
ALL = {"visible": None, "connectors": False, "rows": 100, "count": 100}


@pytest.fixture
def states(db: Session) -> dict[int, str]:
    """The rows of `billing`: the id of each message, and its state."""
    db.execute("select outbox.subscribe('billing', 'orders', 'https://h.example/')")
    made = {}
    for group_key, due, token, outcome, attempts, state in ROWS:
        message_id = publish(db, group_key)
        interval = None if due == "infinity" else due
        db.execute(INSERT, [message_id, group_key, due, interval, token, outcome, attempts])
        made[message_id] = state
    return made


def rows(db: Session, query: LiteralString | bytes, **parameters: object) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cursor:
        return only_rows(cursor.execute(query, parameters or None))


def billing(found: list[dict[str, Any]], name: str = "subscription") -> dict[str, Any]:
    (row,) = [row for row in found if row[name] == "billing"]
    return row


def of_the_relay(db: Session) -> dict[str, int]:
    backlog = [row for row in undelivered.read_backlog(db) if row.subscription == "billing"]
    (found,) = undelivered.undelivered(backlog, undelivered.read_held(db))
    return found.by_state


def of_the_relays_status(db: Session) -> object:
    (found,) = status.read(db).endpoints
    return found


def of_the_command(db: Session) -> object:
    (found,) = [one for one in subscription_list.read(db) if one.name == "billing"]
    return found


def of_the_services_subscription(db: Session) -> dict[str, Any]:
    billing_id = one(db, "select id from outbox.subscription where name = 'billing'")
    return billing(rows(db, view.READ, first=billing_id, last=billing_id, **ALL), "name")


def of_the_services_numbers(db: Session) -> dict[str, Any]:
    return billing(rows(db, stats.LIST, after=0, look_at=100, **ALL), "name")


def of_the_view(db: Session) -> dict[str, Any]:
    return billing(rows(db, "table outbox.delivery_summary"))


PLACES: list[Callable[[Session], Any]] = [
    of_the_view,
    of_the_relay,
    of_the_relays_status,
    of_the_command,
    of_the_services_subscription,
    of_the_services_numbers,
]


@pytest.mark.usefixtures("states")
@pytest.mark.parametrize("place", PLACES)
def test_each_row_is_counted_in_exactly_one_state(
    db: Session, place: Callable[[Session], Any]
) -> None:
    found = place(db)
    if not isinstance(found, dict):
        found = {state: getattr(found, state) for state in BY_STATE}
    # That of one subscription over HTTP counts no row that is behind: there may be millions.
    expected = {state: BY_STATE[state] for state in BY_STATE if state in found}
    assert {state: found[state] for state in expected} == expected
    assert len(expected) >= len(BY_STATE) - 1


def test_each_row_is_listed_in_its_state_over_http(db: Session, states: dict[int, str]) -> None:
    """Under the API's names, and by each state alone."""
    names = {"in_flight": "inFlight"}
    place = {"cursor": 0, "message": 0, "subscription_id": None, **ALL}
    listed = {}
    for state in BY_STATE:
        name = names.get(state, state)
        for row in rows(db, deliveries.LIST, state=name, **place):
            assert row["state"] == name
            listed[int(row["message_id"])] = state
    assert listed == states
    assert len(rows(db, deliveries.LIST, state=None, **place)) == len(states)


def test_each_head_is_shown_in_its_state(db: Session, states: dict[int, str]) -> None:
    found = rows(db, (SQL_DIRECTORY / "inspect" / "deliveries.sql").read_bytes())
    heads = {message_id: state for message_id, state in states.items() if state != "behind"}
    assert {row["message_id"]: row["state"] for row in found} == heads


def test_the_age_of_what_waits_is_not_that_of_what_was_acknowledged(
    db: Session, states: dict[int, str]
) -> None:
    """What was refused after its run counts: its dead letter is still to be written."""
    ids = {group_key: message_id for (group_key, *_), message_id in zip(ROWS, states, strict=True)}
    kept = [ids["acknowledged after its run"], ids["refused after its run"]]
    db.execute("delete from outbox.delivery where not message_id = any (%s)", [kept])
    written = "select created_at from outbox.message where id = %s"
    oldest = "select oldest_at from outbox.delivery_summary"
    assert one(db, oldest) == one(db, written, ids["refused after its run"])


def test_postgres_makes_the_state_a_part_of_the_statement(db: Session) -> None:
    """A call for each of a million rows would cost a second; and an index serves beside it."""
    query = """
        explain (verbose) select count(*) from outbox.delivery
        where cursor_id = 1 and due_at is not null
          and outbox.delivery_state(due_at, token, outcome, attempts) = 'in_flight'
    """
    plan = "\n".join(line for (line,) in db.execute(query).fetchall())
    assert "CASE" in plan
    assert "delivery_state" not in plan
