"""A row that no producer can send becomes a dead letter, alone: its neighbours go on."""

from typing import LiteralString

import pytest

from tests.relay.stage import Stage
from tests.sql.log import drop_checks

pytest_plugins = ["tests.relay.stage_fixtures"]

# As a superuser can, with the CHECKs out of the way.
INSERT: LiteralString = """
insert into outbox.message (channel, type, group_key, payload, headers, created_at)
values ('orders', 'event', 'g', convert_to(%s, 'UTF8'), %s, coalesce(%s, clock_timestamp()))
"""
GOOD = '{"traceparent": "00-1"}'
# Headers and the moment of writing, and what the dead letter's detail begins with.
ROWS: dict[str, tuple[str, str | None, str]] = {
    "no JSON": ("{", None, "headers: "),
    "nothing": ("", None, "headers: "),
    "null": ("null", None, "headers: "),
    "an array": ("[]", None, "headers: "),
    "a number": ('{"a": 1}', None, "headers: "),
    "an object": ('{"a": {"b": "c"}}', None, "headers: "),
    "half a character": ('{"a": "\\ud800"}', None, "headers: "),
    "half a character in a name": ('{"\\ud800": "a"}', None, "headers: "),
    "a name with NUL": ('{"a\\u0000b": "c"}', None, "headers: "),
    "a deep one": ('{"a":' * 5000 + "1" + "}" * 5000, None, "headers: "),
    "written never": (GOOD, "infinity", "created_at: "),
    "written always": (GOOD, "-infinity", "created_at: "),
    "written far off": (GOOD, "12000-01-01", "created_at: "),
}


def fill(stage: Stage) -> None:
    """Bad rows, some of them next to each other, between good ones."""
    stage.create_topic("orders", 1)
    with stage.database() as connection:
        drop_checks(connection)
        connection.execute(INSERT, ["first", GOOD, None])
        for name, (headers, created_at, _) in ROWS.items():
            connection.execute(INSERT, [name, headers, created_at])
            if name in ("null", "a name with NUL"):
                connection.execute(INSERT, [f"behind {name}", GOOD, None])
        connection.execute(INSERT, ["last", GOOD, None])


def check(stage: Stage, attempts: int) -> None:
    dead_letters = stage.query(
        "select convert_from(payload, 'UTF8'), reason, detail, attempts from outbox.dead_letter"
    )
    assert {name: reason for name, reason, *_ in dead_letters} == dict.fromkeys(
        ROWS, "not_encodable"
    )
    for name, _, detail, tried in dead_letters:
        assert detail.startswith(ROWS[name][2]), (name, detail)
        assert tried == attempts, name
    arrived = [one.value.decode() for one in stage.arrivals("orders")]
    assert arrived == ["first", "behind null", "behind a name with NUL", "last"]


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_what_no_producer_can_send_dies_alone_and_its_neighbours_arrive_once_in_order(
    stage: Stage, delivery: str
) -> None:
    if delivery == "exactly_once":
        stage = stage.exactly_once()
    fill(stage)
    assert stage.relay("--once").wait(60) == 0
    check(stage, attempts=1)


def test_redriven_as_it_was_it_dies_again(stage: Stage) -> None:
    fill(stage)
    assert stage.relay("--once").wait(60) == 0
    stage.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
    assert stage.relay("--once").wait(60) == 0
    check(stage, attempts=2)
