r"""What Postgres can't hold, a NUL or half a surrogate pair: refused, by the field's name."""

import json
from typing import Any

import pytest

from service.web.bodies import lone_surrogates
from tests.service.api import Platform
from tests.service.shop import ORDERS, WEBHOOKS, Json, event
from tests.service.web.bodies.test_body import STRINGS, change, full

ID = "00000000-0000-4000-8000-000000000000"
ORDER: Json = {
    "number": "1", "merchantId": "m", "saleChannelId": "c", "currency": "EUR", "total": "10",
    "createdBy": "u", "metadata": {"note": "n"}, "allocations": [{"allocationId": "a"}],
    "items": [{"itemType": "GOODS", "itemId": "tea", "quantity": 1, "mode": "PRODUCT"}],
}  # fmt: skip
MESSAGE: Json = {
    "channelId": "c", "type": "t", "payload": {"a": ["b"]}, "groupKey": "g",
    "idempotencyKey": "k", "headers": {"h": "v"},
}  # fmt: skip
SUBSCRIPTION: Json = {
    "channelId": "c", "endpoint": "https://a.example/", "name": "unstorable", "types": ["t"],
}  # fmt: skip
# Path, body, and where in it text stands.
BODIES: list[tuple[str, Any, list[str]]] = [
    (WEBHOOKS, full(ID), [path for path in STRINGS if path != "eventType"]),
    (ORDERS, ORDER, ["number", "createdBy", "items.0.itemId", "allocations.0.allocationId"]),
    (f"{ORDERS}/{ID}/ship", {"trackingNumber": "t"}, ["trackingNumber"]),
    ("/v1/messages", MESSAGE, ["type", "groupKey", "idempotencyKey", "headers.h"]),
    ("/v1/messages/transactional", [MESSAGE], ["0.type", "0.groupKey"]),
    ("/v1/subscriptions", SUBSCRIPTION, ["name", "endpoint", "types.0"]),
    ("/v1/dead-letters/redrive", {"ids": ["1"]}, ["ids.0"]),
]
# What is kept and sent as it was written.
CARRIED = [
    (ORDERS, ORDER, ["metadata.note"]),
    (WEBHOOKS, full(ID), ["payload.transaction.metadata.any.0"]),
    ("/v1/messages", MESSAGE, ["payload.a.0"]),
]


def put(body: Any, path: str, text: str) -> Any:
    """The body with this text in one place; list indexes are steps of the path."""
    changed = json.loads(json.dumps(body))
    *parents, last = (int(step) if step.isdecimal() else step for step in path.split("."))
    inner = changed
    for step in parents:
        inner = inner[step]
    inner[last] = text
    return changed


def dotted(field: str) -> str:
    """A field as refusals name it, in the way of `put`."""
    return field.replace("[...]", ".h").replace("[", ".").replace("]", "").lstrip(".")


PLACES = [(path, body, field) for path, body, fields in BODIES for field in fields]


def refusal(platform: Platform, path: str, body: Any) -> Json:
    answer = platform.send("POST", path, body)
    assert answer.status_code == 422, answer.text
    problem: Json = answer.json()
    return problem


@pytest.mark.parametrize("text", ["\ud800", "x\udfff", "\ud800\ud83d\ude00"])
def test_half_a_surrogate_pair_is_refused_by_its_field(platform: Platform, text: str) -> None:
    carried = [(path, body, field) for path, body, fields in CARRIED for field in fields]
    for path, body, field in PLACES + carried:
        problem = refusal(platform, path, put(body, field, text))
        assert (dotted(problem["field"]), path) == (field, path)
        assert "half a surrogate pair" in problem["detail"]
        assert problem["detail"].startswith(problem["field"])


def test_a_nul_is_refused_by_its_field_in_a_sentence(platform: Platform) -> None:
    for path, body, field in PLACES:
        problem = refusal(platform, path, put(body, field, "a\x00b"))
        assert (dotted(problem["field"]), path) == (field, path)
        assert "regex" not in problem["detail"]


def test_a_nul_in_what_is_carried_as_it_was_written_is_carried(platform: Platform) -> None:
    order = platform.ask("POST", ORDERS, put(ORDER, "metadata.note", "a\x00b"), 201)
    assert order["metadata"] == {"note": "a\x00b"}
    assert platform.ask("GET", f"{ORDERS}/{order['id']}") == order
    channel = platform.name("c")
    message = put(MESSAGE | {"channelId": channel}, "payload.a.0", "a\x00b")
    platform.ask("POST", "/v1/messages", message, 201)
    [(_, _, _, payload)] = platform.messages(channel)
    assert json.loads(payload) == message["payload"]
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
    sent = change(sent, "payload.transaction.metadata", {"any": "a\x00b"})
    assert platform.ask("POST", WEBHOOKS, sent) == {"acknowledged": True}


@pytest.mark.parametrize("body", ['{"\\ud800": 1}', '{"payload": {"\\ud800": 1}}'])
def test_where_no_field_can_be_named_its_surroundings_are(platform: Platform, body: str) -> None:
    for path in (WEBHOOKS, ORDERS, "/v1/messages"):
        headers = {**platform.authorization, "X-Webhook-Event-Type": "ATTEMPT_SUCCESS"}
        answer = platform.http.post(path, content=body, headers=headers)
        field = "payload" if "payload" in body else None
        assert (answer.status_code, answer.json().get("field")) == (422, field)
        assert "surrogate" in answer.json()["detail"]


def test_whole_pairs_and_escaped_backslashes_are_left_alone() -> None:
    for good in (rb'{"a":"\ud83d\ude00"}', rb'{"a":"\\ud800"}', rb'{"a":"\"\uD83D\uDE00\n"}'):
        assert json.loads(lone_surrogates.replaced(good)) == json.loads(good)
        assert lone_surrogates.find(good) is None
    assert json.loads(lone_surrogates.replaced(rb'"\\\ud800\u0041"')) == "\\\ufffdA"


def test_a_body_that_is_encoded_is_refused_wherever_one_is_taken(platform: Platform) -> None:
    document = platform.http.get("/openapi.json").json()
    taking = [
        (method, path)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if "requestBody" in operation
    ]
    assert len(taking) > 8
    for method, path in taking:
        for coding in ("gzip", "br", "identity, gzip"):
            url = path.replace("{id}", ID if "/sale/" in path else "1").replace("{type}", "t")
            answer = platform.http.request(
                method.upper(),
                url,
                content=b"\x1f\x8b",
                headers={**platform.authorization, "Content-Encoding": coding},
            )
            assert (answer.status_code, path) == (415, path)
            assert answer.headers["accept-encoding"] == "identity"
