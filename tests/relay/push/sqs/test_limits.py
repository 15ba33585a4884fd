"""What a queue does not take is a dead letter that names the limit; what it takes arrives whole."""

import base64
import hashlib
import json
from typing import Any

import pytest

from relay.push.sqs import session
from tests.fault_proxy import LOOK, SEND, Refusal, Request
from tests.relay.push.sqs.stage import Arrival, QueueStage
from tests.relay.push.stage import PushRelay

INSERT = """
insert into outbox.message (channel, type, group_key, idempotency_key, headers, payload)
values ('orders', 'order.paid', %s, %s, %s, %s)
"""


def publish(
    queues: QueueStage,
    key: str,
    payload: bytes,
    *,
    group: str | None = "g",
    headers: dict[str, str] | None = None,
) -> None:
    own = None if headers is None else json.dumps(headers)
    queues.db.execute(INSERT, [group, key, own, payload])


def only(queues: QueueStage, relay: PushRelay, base: str = "orders.fifo") -> Arrival:
    relay.drain()
    (arrival,) = queues.arrived(base)
    assert queues.dead() == []
    return arrival


def test_a_payload_that_is_text_arrives_as_it_is(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect()
    text = '{"ü": "\t\n\U0001f600 ]]>&lt;"}'
    publish(queues, "a:1", text.encode())
    arrival = only(queues, relay)
    assert arrival.body == text
    assert "payload-encoding" not in arrival.attributes


@pytest.mark.parametrize(
    "payload", [b"\x00", b"a\x0bb", b"\xff\xfe", "￿".encode(), b"\x1f\x8b\x08"]
)
def test_a_payload_that_is_no_text_arrives_in_base64_and_says_so(
    queues: QueueStage, relay: PushRelay, payload: bytes
) -> None:
    queues.connect()
    publish(queues, "a:1", payload)
    arrival = only(queues, relay)
    assert base64.b64decode(arrival.body) == payload
    assert arrival.attributes["payload-encoding"] == "base64"


def test_the_attributes_are_those_of_a_cloud_event(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect()
    publish(queues, "a:1", b"{}", headers={"traceparent": "00-1-2-01"})
    attributes = only(queues, relay).attributes
    assert attributes.pop("ce_time").endswith("Z")
    assert attributes == {
        "ce_specversion": "1.0",
        "ce_id": "a:1",
        "ce_type": "order.paid",
        "ce_source": "/outbox",
        "content-type": "application/json",
        "idempotency-key": "a:1",
        "traceparent": "00-1-2-01",
    }


@pytest.mark.parametrize(
    "own",
    [
        {f"x-{number}": "v" for number in range(4)},
        {"empty": ""},
        {"aws.x": "1"},
        {"group-key": "mine"},
    ],
)
def test_own_headers_that_are_no_attributes_arrive_in_one(
    queues: QueueStage, relay: PushRelay, own: dict[str, str]
) -> None:
    queues.connect()
    publish(queues, "a:1", b"{}", headers=own)
    attributes = only(queues, relay).attributes
    assert len(attributes) <= 10
    assert json.loads(attributes["headers"]) == own
    assert attributes["ce_id"] == "a:1"


@pytest.mark.parametrize("group", ["a b", "ü", "x" * 129])
def test_a_group_key_that_is_no_group_is_hashed_and_kept(
    queues: QueueStage, relay: PushRelay, group: str
) -> None:
    queues.connect()
    publish(queues, "a:1", b"1", group=group)
    publish(queues, "a:2", b"2", group=group)
    relay.drain()
    first, second = queues.arrived()
    assert (first.body, second.body) == ("1", "2")
    assert first.group == second.group == f"sha256-{hashlib.sha256(group.encode()).hexdigest()}"
    assert first.attributes["group-key"] == group


def test_a_message_without_a_key_is_a_group_of_its_own(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect()
    for number in range(3):
        publish(queues, f"a:{number}", b"1", group=None)
    relay.drain()
    arrived = queues.arrived()
    assert len({one.group for one in arrived}) == 3
    assert all(one.group == one.deduplication_id for one in arrived)


def test_a_standard_queue_gets_the_key_as_an_attribute_and_no_group(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect("orders")
    publish(queues, "a:1", b"1", group="a")
    arrival = only(queues, relay, "orders")
    assert (arrival.group, arrival.deduplication_id) == (None, None)
    assert arrival.attributes["group-key"] == "a"


def test_an_empty_payload_is_a_dead_letter(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect()
    publish(queues, "a:1", b"")
    publish(queues, "a:2", b"2", group="h")
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:2"]
    assert [(key, reason) for key, reason, _ in queues.dead()] == [("a:1", "empty_payload")]


def test_what_is_too_large_in_base64_is_a_dead_letter_that_names_the_limit(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.connect()
    publish(queues, "a:1", b"\x00" * 983_000)
    publish(queues, "a:2", b"2" * 983_000, group="h")
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:2"]
    ((key, reason, detail),) = queues.dead()
    assert (key, reason) == ("a:1", "maximum_message_size")
    assert "MaximumMessageSize is 1048576" in detail


def lower_limit(action: str, said: dict[str, Any]) -> dict[str, Any]:
    """As of a queue that takes less than others."""
    if action != LOOK:
        return said
    return {"Attributes": {**said["Attributes"], "MaximumMessageSize": "1024"}}


def test_a_queues_own_lower_limit_is_kept(queues: QueueStage, relay: PushRelay) -> None:
    queues.proxy.rewrite = lower_limit
    queues.connect()
    publish(queues, "a:1", b"1" * 1100)
    publish(queues, "a:2", b"2" * 300, group="h")
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:2"]
    ((_, reason, detail),) = queues.dead()
    assert (reason, "MaximumMessageSize is 1024" in detail) == ("maximum_message_size", True)


def test_a_limit_that_was_raised_is_seen_with_the_first_message_beyond_it(
    queues: QueueStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "AWAY_SECONDS", 0.0)
    queues.proxy.rewrite = lower_limit
    queues.connect()
    publish(queues, "a:1", b"1" * 300)
    relay.drain()
    queues.proxy.rewrite = lambda _, said: said
    for number in (2, 3):
        publish(queues, f"a:{number}", b"2" * 1100)
        relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:1", "a:3"]
    queues.db.execute("select outbox.redrive(array_agg(id)) from outbox.dead_letter")
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:2"]


def test_batches_are_no_larger_than_a_request_may_be(queues: QueueStage, relay: PushRelay) -> None:
    queues.connect()
    for number in range(10):
        publish(queues, f"a:{number}", b"x" * 300_000, group=f"g{number}")
    relay.drain()
    assert len(queues.arrived()) == 10
    sizes = [sum(map(len, one.bodies)) for one in queues.proxy.batches]
    assert sizes
    assert max(sizes) <= 1_048_576
    assert max(len(one.bodies) for one in queues.proxy.batches) == 3


def test_what_the_queue_refuses_of_a_message_is_a_dead_letter_with_its_code(
    queues: QueueStage, relay: PushRelay
) -> None:
    queues.proxy.drop = lambda entry: (
        Refusal("InvalidMessageContents", sender_fault=True)
        if entry["MessageBody"] == "bad"
        else None
    )
    queues.connect()
    publish(queues, "a:1", b"bad")
    publish(queues, "a:2", b"good")
    relay.drain()
    relay.drain()
    assert [one.key for one in queues.arrived()] == ["a:2"]
    assert [(key, reason) for key, reason, _ in queues.dead()] == [
        ("a:1", "InvalidMessageContents")
    ]


@pytest.mark.parametrize(
    ("refusal", "word"),
    [
        (Refusal("InvalidParameterValue"), "InvalidParameterValue"),
        (Refusal("BatchRequestTooLong"), "BatchRequestTooLong"),
        # What stands between has no codes of SQS.
        (Refusal("any", status=413), "RequestEntityTooLarge"),
    ],
)
def test_a_request_that_is_refused_for_one_entry_costs_no_other_message(
    queues: QueueStage, relay: PushRelay, refusal: Refusal, word: str
) -> None:
    def refuse(request: Request) -> Refusal | None:
        return refusal if request.action == SEND and "bad" in request.bodies else None

    queues.proxy.refuse = refuse
    queues.connect()
    for number, body in enumerate((b"1", b"bad", b"3")):
        publish(queues, f"a:{number}", body, group=f"g{number}")
    relay.drain()
    assert sorted(one.body for one in queues.arrived()) == ["1", "3"]
    assert [(key, reason) for key, reason, _ in queues.dead()] == [("a:1", word)]


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"Successful": [{"Id": "7", "MessageId": "m"}], "Failed": []},
        {"Successful": [{}], "Failed": [{}]},
    ],
)
def test_an_answer_that_does_not_name_an_entry_acknowledges_nothing(
    queues: QueueStage, relay: PushRelay, said: dict[str, Any]
) -> None:
    queues.proxy.rewrite = lambda action, answer: said if action == SEND else answer
    queues.connect(retry={"schedule_seconds": [600] * 5, "jitter": 0})
    publish(queues, "a:1", b"1")
    relay.drain()
    assert queues.stage.rows() == [("a:1", 1, "retry")]
