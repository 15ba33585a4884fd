"""A caller of the service who can also look into its database."""

import itertools
import json
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx2
import psycopg

WEBHOOKS = "/v1/api/sale/webhooks/payment"
ORDERS = "/v1/api/sale/orders"

Json = dict[str, Any]


class Message(NamedTuple):
    """A message of the outbox; `value` is its decoded payload."""

    channel: str
    type: str
    group_key: str | None
    priority: int
    headers: Json | None
    value: Json


class Shop:
    """Creates orders, plays the payment provider, reads what became of it."""

    def __init__(self, http: httpx2.Client, database: psycopg.Connection[Any]) -> None:
        self.http = http
        self.database = database
        self._numbers = itertools.count(1)

    def order(self, **fields: object) -> Json:
        """A new DRAFT order of 10.00 EUR with one item, unless said otherwise."""
        form = {
            "number": f"N-{next(self._numbers)}",
            "merchantId": str(uuid4()),
            "saleChannelId": str(uuid4()),
            "currency": "EUR",
            "total": "10.00",
            "createdBy": "cashier",
            "items": [
                {"itemType": "GOODS", "itemId": "tea", "quantity": 2, "mode": "PRODUCT"},
            ],
            **fields,
        }
        answer = self.http.post(ORDERS, json=form)
        assert answer.status_code == 201, answer.text
        created: Json = answer.json()
        return created

    def processing_order(self, **fields: object) -> Json:
        """A new order whose payment has been started."""
        return self.step(self.order(**fields)["id"], "payments")

    def step(self, order_id: str, step: str, body: Json | None = None) -> Json:
        """Takes a step that must be allowed; the order after it."""
        answer = self.http.post(f"{ORDERS}/{order_id}/{step}", json=body)
        assert answer.status_code == 200, answer.text
        order: Json = answer.json()
        return order

    def read(self, order_id: str) -> Json:
        """The order as it stands."""
        answer = self.http.get(f"{ORDERS}/{order_id}")
        assert answer.status_code == 200, answer.text
        order: Json = answer.json()
        return order

    def send(self, event: Json, headers: dict[str, str] | None = None) -> httpx2.Response:
        """Delivers a webhook; the answer, whatever it is."""
        return self.http.post(WEBHOOKS, json=event, headers=headers)

    def deliver(self, event: Json, headers: dict[str, str] | None = None) -> None:
        """Delivers a webhook that must be acknowledged."""
        answer = self.send(event, headers)
        assert (answer.status_code, answer.json()) == (200, {"acknowledged": True}), answer.text

    def messages(self, channel: str | None = None) -> list[Message]:
        """The outbox in the order of its ids, of one channel or of all."""
        rows = self.database.execute(
            """
            select channel, type, group_key, priority, headers, payload
            from outbox.message
            where %(channel)s::text is null or channel = %(channel)s
            order by id
            """,
            {"channel": channel},
        ).fetchall()
        return [
            Message._make((*names, json.loads(headers) if headers else None, json.loads(payload)))
            for *names, headers, payload in rows
        ]

    def values(self, channel: str) -> list[Json]:
        """The payloads of one channel."""
        return [message.value for message in self.messages(channel)]

    def lifecycle(self) -> list[str]:
        """The types of the lifecycle events so far."""
        return [message.type for message in self.messages("orders.lifecycle")]

    def state(self) -> list[Any]:
        """All that the database holds of the domain and the outbox, to compare."""
        return [
            self.database.execute(statement).fetchall()
            for statement in (
                "select o::text from sale.sale_order as o order by id",
                "select c::text from sale.sale_check as c order by id",
                "select a::text from sale.allocation_usage as a order by id",
                "select p::text from sale.points_transaction as p order by order_id",
                "select w::text from sale.received_webhook as w order by key",
                "select i::text from sale.order_item as i order by id",
                "select id from outbox.message order by id",
            )
        ]


def event(
    event_type: str,
    *,
    order: str | UUID | None = None,
    check: str | UUID | None = None,
    total: object = "10.00",
    paid: object = None,
    amount: object = None,
    attempt_id: str | None = None,
    transaction_id: str | None = None,
    reason: str | None = None,
) -> Json:
    """A webhook's body: with a transaction where `paid` is given, an attempt where `amount` is.

    Each call is a new attempt and a new transaction, unless their ids are given.
    """
    source_type, source_id = ("SaleCheck", check) if check else ("SaleOrder", order)
    payload: Json = {"timestamp": "2026-01-01T00:00:00Z", "source": "provider"}
    if paid is not None:
        payload["transaction"] = {
            "id": transaction_id or str(uuid4()),
            "uid": "uid",
            "status": "OPEN",
            "total": total,
            "paid": paid,
            "sourceType": source_type,
            "sourceId": str(source_id),
            "metadata": {"any": ["thing"]},
        }
    if amount is not None:
        payload["attempt"] = {
            "id": attempt_id or str(uuid4()),
            "uid": "uid",
            "status": "DONE",
            "amount": amount,
            "paymentProvider": "acme",
            "reason": reason,
            "metadata": {"source": {"id": str(source_id), "uid": "u", "type": source_type}},
        }
    return {"eventType": event_type, "timestamp": 1767225600, "payload": payload}


def cents(amount: str) -> int:
    """An amount that came as a JSON string, in hundredths."""
    return int(Decimal(amount) * 100)
