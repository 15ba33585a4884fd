"""A row that no request can carry becomes a dead letter, alone; slots are given back always."""

from typing import Any, LiteralString

import pytest

from relay.push.http.client import Client
from relay.push.requests import batch
from relay.push.requests.signature import Signer
from tests.relay.push.stage import LATER, PushRelay, PushStage
from tests.sql.log import drop_checks, one

INSERT: LiteralString = """
insert into outbox.message
    (channel, type, group_key, idempotency_key, payload, headers, content_type, created_at)
values ('orders', 'event', %(group)s, %(key)s, '{}', %(headers)s, %(content_type)s,
        coalesce(%(created_at)s, clock_timestamp()))
"""
GOOD: dict[str, Any] = {
    "headers": '{"traceparent": "00-1"}',
    "content_type": "application/json",
    "created_at": None,
    "group": "g",
}
# What is wrong with each, by its idempotency key; and the field that its dead letter names.
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "no JSON": ({"headers": "{"}, "headers: "),
    "an array": ({"headers": "[]"}, "headers: "),
    "a number": ({"headers": '{"a": 1}'}, "headers: "),
    "half a character": ({"headers": '{"a": "\\ud800"}'}, "headers: "),
    "a content type with lines": ({"content_type": "text/plain\r\nx: y"}, "content_type: "),
    "a foreign content type": ({"content_type": "text/é"}, "content_type: "),
    "a key\r\nx: y": ({}, "idempotency_key: "),
    "a kéy": ({}, "idempotency_key: "),
    "written never": ({"created_at": "infinity"}, "created_at: "),
    "written always": ({"created_at": "-infinity"}, "created_at: "),
}
DEAD_LETTERS = (
    "select idempotency_key, reason, detail, attempts from outbox.dead_letter order by id"
)


@pytest.fixture
def push_database_url(database_url: str) -> str:
    """Of the test's own: its log has no CHECKs."""
    return database_url


def fill(stage: PushStage, groups: list[str | None]) -> int:
    """Bad rows between good ones; the subscription's id."""
    subscription_id = stage.subscribe(concurrency=4)
    drop_checks(stage.db)
    with stage.db.transaction():
        for place, (key, (wrong, _)) in enumerate(ROWS.items()):
            group = groups[place % len(groups)]
            stage.db.execute(INSERT, GOOD | {"key": key, "group": group} | wrong)
            stage.db.execute(INSERT, GOOD | {"key": f"g:{place}"})
    return subscription_id


def check(stage: PushStage, relay: PushRelay, subscription_id: int) -> None:
    dead_letters = stage.db.execute(DEAD_LETTERS).fetchall()
    assert {key: reason for key, reason, *_ in dead_letters} == dict.fromkeys(ROWS, "not_encodable")
    for key, _, detail, attempts in dead_letters:
        assert detail.startswith(ROWS[key][1]), (key, detail)
        assert attempts == 0, key
    assert stage.keys() == [f"g:{place}" for place in range(len(ROWS))]
    assert stage.rows() == []
    assert relay.request_loop.slots(subscription_id).free == 4


@pytest.mark.parametrize("groups", [["g"], [None], ["h", "i", None]], ids=str)
def test_what_no_request_can_carry_dies_alone_and_its_neighbours_arrive_once_in_order(
    stage: PushStage, relay: PushRelay, groups: list[str | None]
) -> None:
    subscription_id = fill(stage, groups)
    relay.drain()
    check(stage, relay, subscription_id)


def test_redriven_as_it_was_it_dies_again_and_leaks_no_slot(
    stage: PushStage, relay: PushRelay
) -> None:
    """More often than there are slots."""
    subscription_id = fill(stage, ["g"])
    relay.drain()
    for _ in range(6):
        assert one(stage.db, "select outbox.redrive(%s)", stage.dead_letter_ids()) == len(ROWS)
        relay.drain()
    check(stage, relay, subscription_id)


def test_a_half_open_breaker_s_probe_that_can_not_be_sent_leaves_it_to_the_next(
    stage: PushStage, relay: PushRelay
) -> None:
    stage.subscribe()
    drop_checks(stage.db)
    stage.db.execute(INSERT, GOOD | {"key": "bad", "headers": "["})
    stage.db.execute(INSERT, GOOD | {"key": "g:1"})
    stage.db.execute(
        "update outbox.breaker set failing_since = clock_timestamp(),"
        " opened_at = clock_timestamp(), retry_at = clock_timestamp()"
    )
    relay.drain()
    assert stage.breaker() == "closed"
    assert stage.keys() == ["g:1"]
    assert [dead_letter[0] for dead_letter in stage.dead_letters()] == ["bad"]


def test_a_fault_in_judging_an_answer_is_a_retry_by_schedule_and_costs_no_slot(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription_id = stage.subscribe(concurrency=2, retry=LATER)
    stage.publish("g:1", "g:2", "h:1", "i:1")

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as broke:
        broke.setattr(batch, "judge", broken)
        for _ in range(4):
            relay.round()
        assert sorted(stage.rows()) == [
            ("g:1", 1, "retry"),
            ("g:2", 0, "behind"),
            ("h:1", 1, "retry"),
            ("i:1", 1, "retry"),
        ]
        assert relay.request_loop.slots(subscription_id).free == 2
    stage.let_time_pass()
    relay.drain()
    assert (stage.rows(), stage.dead_letters()) == ([], [])


@pytest.mark.parametrize("where", ["sign", "send"])
def test_a_fault_of_ours_costs_an_attempt_and_no_slot(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    subscription_id = stage.subscribe(concurrency=2)
    stage.publish("g:1", "g:2", "h:1", "i:1")

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with monkeypatch.context() as broke:
        broke.setattr(Signer if where == "sign" else Client, where, broken)
        for _ in range(4):
            relay.round()
        states = sorted(state for _, _, state in stage.rows())
        assert states == ["behind", "retry", "retry", "retry"]
        assert relay.request_loop.slots(subscription_id).free == 2
    stage.let_time_pass()
    relay.drain()
    assert sorted(stage.keys()) == ["g:1", "g:2", "h:1", "i:1"]
    assert stage.dead_letters() == []
