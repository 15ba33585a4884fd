"""The orders API: create, read, and every step in every state."""

import msgspec
import pytest

from service.payments.orders import view
from tests.service.shop import ORDERS, Json, Shop, event

NOWHERE = "00000000-0000-4000-8000-000000000000"

FORM: Json = {
    "number": "N-1",
    "merchantId": "merchant",
    "saleChannelId": "channel",
    "currency": "EUR",
    "total": "10.10",
    "createdBy": "cashier",
    "items": [{"itemType": "GOODS", "itemId": "tea", "quantity": 2, "mode": "PRODUCT"}],
}


CHECK_FIELDS = {field.encode_name for field in msgspec.structs.fields(view.Check)}


def order_in(shop: Shop, state: str) -> Json:
    """An order in one of all states, SHIPPED and DELIVERED among them."""
    order = shop.order()
    if state == "DRAFT":
        return order
    shop.step(order["id"], "payments")
    if state == "CANCELLED":
        shop.deliver(event("ATTEMPT_FAILED", order=order["id"], amount="1"))
    elif state == "PARTIAL":
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="1"))
    elif state != "PROCESSING":
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], amount="10"))
    if state in ("SHIPPED", "DELIVERED"):
        shop.step(order["id"], "ship", {"trackingNumber": "T-1"})
    if state == "DELIVERED":
        shop.step(order["id"], "deliver")
    return shop.read(order["id"])


def test_a_new_order_is_a_draft_with_ids_for_all_its_parts(shop: Shop) -> None:
    answer = shop.http.post(
        ORDERS,
        json={
            **FORM,
            "customerId": "ann",
            "closedInSessionId": "session",
            "metadata": {"finance": {"cost": "x"}},
            "checks": [{"total": "4.04"}, {"total": 6.06}],
            "allocations": [{"allocationId": "gift"}],
        },
    )
    assert answer.status_code == 201
    order = answer.json()
    assert answer.headers["location"] == f"{ORDERS}/{order['id']}"
    assert (order["status"], order["total"], order["paid"]) == ("DRAFT", "10.10", "0")
    assert (order["customerId"], order["closedInSessionId"]) == ("ann", "session")
    assert order["metadata"] == {"finance": {"cost": "x"}}
    assert (order["points"], order["cancellationReason"]) == (0, None)
    [item] = order["items"]
    assert {**item, "id": None} == {**FORM["items"][0], "id": None}
    assert [(check["total"], check["status"]) for check in order["checks"]] == [
        ("4.04", "PROCESSING"),
        ("6.06", "PROCESSING"),
    ]
    [allocation] = order["allocations"]
    assert {**allocation, "id": None} == {
        "id": None,
        "allocationId": "gift",
        "usageType": "SALE_ORDER",
        "status": "ACTIVE",
    }
    parts = [order, item, allocation, *order["checks"]]
    assert len({part["id"] for part in parts}) == 5
    assert shop.read(order["id"]) == order


@pytest.mark.parametrize(("names", "status"), [(200, 201), (201, 422)])
def test_metadata_has_200_names_at_most(shop: Shop, names: int, status: int) -> None:
    metadata = {f"name {number}": 1 for number in range(names)}
    answer = shop.http.post(ORDERS, json={**FORM, "metadata": metadata})
    assert answer.status_code == status
    if status == 422:
        assert answer.json()["field"] == "metadata"
        assert "length <= 200" in answer.json()["detail"]


@pytest.mark.parametrize("state", ["PARTIAL", "CANCELLED", "DELIVERED"])
def test_an_order_is_what_the_document_says_and_no_more(shop: Shop, state: str) -> None:
    order = order_in(shop, state)
    split = shop.order(checks=[{"total": 4}, {"total": 6}], allocations=[{"allocationId": "gift"}])
    for answer in (order, split):
        described = msgspec.convert(answer, view.Order)
        assert msgspec.json.decode(msgspec.json.encode(described)).keys() == answer.keys()
        assert [set(part) for part in answer["checks"]] == [CHECK_FIELDS] * len(answer["checks"])


def test_creating_an_order_publishes_order_created(shop: Shop) -> None:
    order = shop.order(customerId="ann")
    [message] = shop.messages()
    assert message[:4] == ("orders.lifecycle", "order.created", order["id"], 3)
    assert message.value == {
        "orderId": order["id"],
        "customerId": "ann",
        "items": order["items"],
        "total": "10.00",
        "currency": "EUR",
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"number": None}, "number"),
        ({"closedInSessionId": ""}, "closedInSessionId"),
        ({"number": ""}, "number"),
        ({"number": "a\x00b"}, "number"),
        ({"total": "NaN"}, "total"),
        ({"total": -1}, "total"),
        ({"total": "1000000000000000"}, "total"),
        ({"total": "0.000000001"}, "total"),
        ({"items": None}, "items"),
        ({"items": [{}]}, "items[0].itemType"),
        ({"items": [{**FORM["items"][0], "quantity": 0}]}, "items[0].quantity"),
        ({"items": [{**FORM["items"][0], "mode": "OTHER"}]}, "items[0].mode"),
        ({"items": [FORM["items"][0]] * 1001}, "items"),
        ({"checks": [{"total": 1}, {"total": "x"}]}, "checks[1].total"),
        ({"allocations": [{"allocationId": 7}]}, "allocations[0].allocationId"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_by_the_fields_name(
    shop: Shop, change: Json, field: str
) -> None:
    answer = shop.http.post(ORDERS, json={**FORM, **change})
    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert shop.messages() == []


@pytest.mark.parametrize("name", [name for name in FORM])
def test_every_field_that_is_not_optional_is_required(shop: Shop, name: str) -> None:
    answer = shop.http.post(ORDERS, json={key: FORM[key] for key in FORM if key != name})
    assert (answer.status_code, answer.json()["field"]) == (422, name)


STEPS = {
    "payments": (None, {"DRAFT", "PARTIAL"}),
    "ship": ({"trackingNumber": "T-1"}, {"COMPLETED"}),
    "deliver": (None, {"SHIPPED"}),
}
STATES = ["DRAFT", "PROCESSING", "PARTIAL", "COMPLETED", "CANCELLED", "SHIPPED", "DELIVERED"]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_the_state_does_not_allow_is_refused_and_names_both_states(
    shop: Shop, step: str, state: str
) -> None:
    body, allowed = STEPS[step]
    order = order_in(shop, state)
    before = shop.messages()
    answer = shop.http.post(f"{ORDERS}/{order['id']}/{step}", json=body)
    if state in allowed:
        assert answer.status_code == 200
        assert answer.json() == shop.read(order["id"]) != order
        return
    assert answer.status_code == 409
    problem = answer.json()
    assert (problem["currentState"], problem["status"]) == (state, 409)
    assert state in problem["detail"]
    assert all(name in problem["detail"] for name in allowed)
    assert shop.read(order["id"]) == order
    assert shop.messages() == before


def test_shipping_and_delivering_are_dated_and_published(shop: Shop) -> None:
    order = order_in(shop, "DELIVERED")
    assert order["status"] == "COMPLETED"
    assert order["trackingNumber"] == "T-1"
    assert order["shippedAt"] <= order["deliveredAt"]
    assert shop.lifecycle() == ["order.created", "order.paid", "order.shipped", "order.delivered"]
    assert [value for value in shop.values("orders.lifecycle")[1:]] == [
        {"orderId": order["id"], "paidAt": order["completedAt"]},
        {"orderId": order["id"], "trackingNumber": "T-1"},
        {"orderId": order["id"], "deliveredAt": order["deliveredAt"]},
    ]


@pytest.mark.parametrize("status", ["PROCESSING", "COMPLETED"])
def test_a_check_that_is_processing_or_completed_starts_no_payment(shop: Shop, status: str) -> None:
    order = shop.order(checks=[{"total": 1}, {"total": 9}])
    check_id = order["checks"][0]["id"]
    if status == "COMPLETED":
        shop.deliver(event("ATTEMPT_SUCCESS", check=check_id, amount=1))
    answer = shop.http.post(f"{ORDERS}/{order['id']}/checks/{check_id}/payments")
    assert answer.status_code == 409
    assert answer.json()["currentState"] == status
    assert answer.json()["requiredState"] == "PARTIAL or CANCELLED"


@pytest.mark.parametrize("order_id", [NOWHERE, "nonsense"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/payments"),
        ("POST", "/ship"),
        ("POST", "/deliver"),
        ("POST", f"/checks/{NOWHERE}/payments"),
    ],
)
def test_an_order_that_does_not_exist_is_not_found(
    shop: Shop, method: str, path: str, order_id: str
) -> None:
    answer = shop.http.request(method, f"{ORDERS}/{order_id}{path}", json={"trackingNumber": "T"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_check_belongs_to_its_own_order_only(shop: Shop) -> None:
    other = shop.order(checks=[{"total": 1}])["checks"][0]["id"]
    order = shop.order()
    for check_id in (other, "nonsense"):
        answer = shop.http.post(f"{ORDERS}/{order['id']}/checks/{check_id}/payments")
        assert answer.status_code == 404


def test_no_answer_is_for_a_cache(shop: Shop) -> None:
    """An order changes with every webhook."""
    path = f"{ORDERS}/{shop.order()['id']}"
    for method, where in (("GET", path), ("POST", f"{path}/payments"), ("POST", f"{path}/ship")):
        answer = shop.http.request(method, where, json={})
        assert answer.headers["cache-control"] == "no-store", answer
