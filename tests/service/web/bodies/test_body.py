"""The webhook's body: what fits, what is refused, and that nothing else ever happens."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from service.problems import Problem
from service.settings import Settings
from service.web.bodies.body import read
from service.web.bodies.held_bodies import Bodies
from tests.service.shop import ORDERS, WEBHOOKS, Json, Shop, event

REQUIRED = {
    "timestamp",
    "payload",
    "payload.timestamp",
    "payload.transaction.id",
    "payload.transaction.uid",
    "payload.transaction.status",
    "payload.transaction.total",
    "payload.transaction.paid",
    "payload.attempt.id",
    "payload.attempt.uid",
    "payload.attempt.status",
    "payload.attempt.amount",
    "payload.attempt.paymentProvider",
}
OPTIONAL = {
    "payload.source",
    "payload.transaction",
    "payload.transaction.sourceType",
    "payload.transaction.sourceId",
    "payload.transaction.metadata",
    "payload.attempt",
    "payload.attempt.reason",
    "payload.attempt.metadata",
    "payload.attempt.metadata.source",
    "payload.attempt.metadata.source.id",
    "payload.attempt.metadata.source.uid",
    "payload.attempt.metadata.source.type",
}
STRINGS = sorted(
    (REQUIRED | OPTIONAL | {"eventType"})
    - {
        "timestamp",
        "payload",
        "payload.transaction",
        "payload.attempt",
        "payload.transaction.total",
        "payload.transaction.paid",
        "payload.transaction.metadata",
        "payload.attempt.amount",
        "payload.attempt.metadata",
        "payload.attempt.metadata.source",
    }
)
AMOUNTS = ["payload.transaction.total", "payload.transaction.paid", "payload.attempt.amount"]
OBJECTS = [
    "payload",
    "payload.transaction",
    "payload.transaction.metadata",
    "payload.attempt",
    "payload.attempt.metadata",
    "payload.attempt.metadata.source",
]


def full(order_id: str) -> Json:
    """A body with every field that there is."""
    return event("ATTEMPT_SUCCESS", order=order_id, paid="10", amount="10", reason="no reason")


def change(body: Json, path: str, value: object) -> Json:
    """A copy of the body with one field set, or left out where the value is ellipsis."""
    changed: Json = json.loads(json.dumps(body))
    *parents, name = path.split(".")
    inner: Any = changed
    for parent in parents:
        inner = inner[parent]
    if value is ...:
        del inner[name]
    else:
        inner[name] = value
    return changed


def refused_field(shop: Shop, body: Json) -> str | None:
    """Which field the refusal names."""
    answer = shop.send(body)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == "about:blank"
    assert problem["status"] == 422
    assert problem["title"]
    field: str | None = problem.get("field")
    assert field is None or field in problem["detail"]
    return field


def test_a_field_that_is_required_is_missed_by_name(shop: Shop) -> None:
    body = full(shop.processing_order()["id"])
    assert {
        path for path in REQUIRED if refused_field(shop, change(body, path, ...)) == path
    } == REQUIRED


def test_a_field_that_is_optional_may_be_missing_or_null(shop: Shop) -> None:
    body = full(shop.processing_order()["id"])
    for path in OPTIONAL:
        for value in (..., None):
            assert shop.send(change(body, path, value)).status_code == 200, path


def test_a_wrong_type_is_refused_by_the_fields_name(shop: Shop) -> None:
    body = full(shop.processing_order()["id"])
    values: tuple[object, ...] = (True, None, [], {})
    wrong: list[tuple[str, object]] = [
        *((path, 7) for path in STRINGS),
        *((path, ["x"]) for path in STRINGS),
        *((path, "x") for path in OBJECTS),
        *((path, ["x"]) for path in OBJECTS),
        *((path, value) for path in AMOUNTS for value in values),
        *(("timestamp", value) for value in ("1", None, True)),
    ]
    assert [
        path for path, value in wrong if refused_field(shop, change(body, path, value)) != path
    ] == []


NO_AMOUNTS: list[object] = [
    "NaN", "Infinity", "-Infinity", "-1", -1, -0.01, "", " 1", "1_000", "1,5", "0x1", "\u0661",
    "1e400", 1e300, 10**15, "1000000000000000", "0.000000001", "1e-9", "9" * 5000, "-0",
]  # fmt: skip


def test_an_amount_that_is_none_is_refused_by_the_fields_name(shop: Shop) -> None:
    body = full(shop.processing_order()["id"])
    for amount in NO_AMOUNTS:
        for path in AMOUNTS:
            assert refused_field(shop, change(body, path, amount)) == path, amount
    assert shop.messages("payment.success") == []


@pytest.mark.parametrize(
    "literal", [b"1e99999999999999999999", b"-1E1000000000000000000", b"-0.0", b"1e-99999999999"]
)
def test_a_number_that_no_decimal_holds_is_refused_by_the_fields_name(
    shop: Shop, literal: bytes
) -> None:
    body = json.dumps(full(shop.processing_order()["id"])).encode()
    form = {
        "number": "1", "merchantId": "m", "saleChannelId": "c", "currency": "EUR",
        "total": "10", "createdBy": "u", "items": [],
    }  # fmt: skip
    for path, content, written, field in (
        (WEBHOOKS, body, b'"amount": "10"', "payload.attempt.amount"),
        (ORDERS, json.dumps(form).encode(), b'"total": "10"', "total"),
    ):
        assert content.count(written) == 1
        answer = shop.http.post(
            path, content=content.replace(written, written.replace(b'"10"', literal))
        )
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_an_id_is_bounded_so_that_every_alphabet_fits_the_repeat_key(shop: Shop) -> None:
    body = full(shop.processing_order()["id"])
    # Four bytes each, and no repetition that could be compressed.
    letters = "".join(chr(0x1F300 + 7 * number % 1000) for number in range(201))
    for path in ("payload.attempt.id", "payload.transaction.id"):
        assert refused_field(shop, change(body, path, letters)) == path
    shop.deliver(change(body, "payload.attempt.id", letters[:200]))
    without_attempt = change(body, "payload.attempt", ...)
    shop.deliver(change(without_attempt, "payload.transaction.id", letters[:200]))


def test_a_caller_that_goes_away_is_no_fault() -> None:
    async def receive() -> Json:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/json")],
        "state": {"settings": Settings(database_url=""), "bodies": Bodies()},
    }
    request = Request(scope, receive)
    with pytest.raises(Problem) as caught:
        asyncio.run(read(request, 1024))
    assert caught.value.status == 400


def test_a_number_that_is_no_json_is_refused(shop: Shop) -> None:
    body = json.dumps(full(shop.processing_order()["id"])).encode()
    for literal in (b"NaN", b"Infinity", b"-Infinity", b"01", b"1.", b".5", b"+1"):
        broken = body.replace(b'"paid": "10"', b'"paid": ' + literal)
        assert broken != body
        assert shop.http.post(WEBHOOKS, content=broken).status_code == 422


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (b"10.10", "10.10"),
        (b'"10.10"', "10.10"),
        (b"0.1", "0.1"),
        (b"1e1", "10"),
        (b'"1.5E+1"', "15"),
        (b"123456789012345.12345678", "123456789012345.12345678"),
        (b"0.30000000000000004", None),
    ],
)
def test_money_is_decimal_to_the_last_digit(shop: Shop, written: bytes, stored: str | None) -> None:
    order = shop.processing_order(total="999999999999999.99999999")
    body = json.dumps(event("ATTEMPT_SUCCESS", order=order["id"], paid="PAID")).encode()
    answer = shop.http.post(WEBHOOKS, content=body.replace(b'"PAID"', written))
    if stored is None:
        assert answer.status_code == 422
        return
    assert answer.json() == {"acknowledged": True}
    assert shop.read(order["id"])["paid"] == stored
    [value] = shop.values("payment.success")
    assert value["payment"]["paid"] == stored
    assert value["payment"]["total"] == "999999999999999.99999999"


def test_amounts_that_add_up_beyond_every_bound_are_still_no_fault(shop: Shop) -> None:
    order = shop.processing_order(total="999999999999999.99999999")
    for _ in range(3):
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="999999999999999.99999998"))
        if shop.read(order["id"])["status"] == "PARTIAL":
            shop.step(order["id"], "payments")
    assert Decimal(shop.read(order["id"])["paid"]) == 2 * Decimal("999999999999999.99999998")


def test_unknown_fields_are_ignored_wherever_they_are(shop: Shop) -> None:
    order = shop.processing_order()
    body = full(order["id"])
    for path in ("new", *(f"{path}.new" for path in OBJECTS)):
        body = change(body, path, {"deep": [1, None]})
    shop.deliver(body)
    assert shop.read(order["id"])["status"] == "COMPLETED"


DEEP = b"[" * 100_000 + b"]" * 100_000


NO_EVENTS = [
        b"", b"null", b"[]", b"[{}]", b'"x"', b"7", b"{", b"{}", b"\xff\xfe", b"\xef\xbb\xbf{}",
        DEEP, b'{"timestamp":1,"payload":{"timestamp":"t","x":' + DEEP + b"}}",
        b'{"timestamp":1,"payload":{"timestamp":"\\u0000"}}',
        b'{"timestamp":1,"payload":{"timestamp":"\\ud800"}}',
        b'{"timestamp":1,"payload":{"timestamp":"\xff"}}',
        b'{"timestamp":1,"payload":{"timestamp":"t","x":"\xff"}}',
        b'{"timestamp":1e999,"payload":{"timestamp":"t"}}',
        b'{"timestamp":' + b"1" * 5000 + b',"payload":{"timestamp":"t"}}',
]  # fmt: skip


@pytest.mark.parametrize("path", [WEBHOOKS, ORDERS])
def test_a_body_that_is_no_event_is_refused_and_never_a_fault(shop: Shop, path: str) -> None:
    for content in NO_EVENTS:
        answer = shop.http.post(path, content=content)
        assert answer.status_code == 422, content[:80]
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_over_the_limit_is_refused_before_all_of_it_is_read(shop: Shop) -> None:
    taken = 0

    def chunks() -> Any:
        nonlocal taken
        for _ in range(1000):
            taken += 1
            yield b" " * 65_536

    declared = shop.http.post(WEBHOOKS, content=b" " * 262_145)
    streamed = shop.http.post(WEBHOOKS, content=chunks())
    for answer in (declared, streamed):
        assert answer.status_code == 413
        assert answer.json()["maxBytes"] == 262_144
        assert answer.headers["content-type"] == "application/problem+json"
    order = shop.processing_order()
    fits = json.dumps(full(order["id"])).encode()
    assert shop.http.post(WEBHOOKS, content=fits.ljust(262_144)).status_code == 200


def test_control_characters_and_other_alphabets_survive(shop: Shop) -> None:
    reason = "\x01\x7f\u2028 Привет 👋 \\u0000 '; drop"
    order = shop.processing_order()
    shop.deliver(event("ATTEMPT_FAILED", order=order["id"], amount="1", reason=reason))
    assert shop.read(order["id"])["cancellationReason"] == reason
    assert shop.values("orders.lifecycle")[-1]["reason"] == reason


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
PATHS = st.sampled_from(sorted(REQUIRED | OPTIONAL | {"eventType"}))
# Each example is a request or two against the same service and database: nothing needs a reset.
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)


@FUZZ
@given(
    path=PATHS, value=ANY_JSON, event_type=st.sampled_from(["ATTEMPT_SUCCESS", "ATTEMPT_FAILED"])
)
def test_any_value_anywhere_is_answered_without_fault_or_partial_write(
    shop: Shop, path: str, value: object, event_type: str
) -> None:
    order = shop.processing_order()
    before = shop.state()
    body = change({**full(order["id"]), "eventType": event_type}, path, value)
    answer = shop.http.post(WEBHOOKS, content=json.dumps(body).encode("utf-8", "surrogatepass"))
    assert answer.status_code in (200, 422), answer.text
    acknowledged = answer.status_code == 200 and answer.json()["acknowledged"]
    after = shop.read(order["id"])
    if not acknowledged:
        assert shop.state() == before
    elif after["status"] != "PROCESSING":
        sent = [m.type for m in shop.messages() if m.group_key == order["id"]]
        assert "ORDER_PAYMENT_UPDATED" in sent
        assert {"payment.success", "order.cancelled"} & set(sent)


@pytest.mark.long
@FUZZ
@given(content=st.binary(max_size=300) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_answered_without_fault(shop: Shop, content: bytes) -> None:
    before = shop.state()
    for path in (WEBHOOKS, ORDERS):
        answer = shop.http.post(path, content=content)
        assert answer.status_code == 422, answer.text
    assert shop.state() == before
