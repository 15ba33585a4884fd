"""Random sequences of events and steps, compared with the model after each."""

from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.service.model import ModelOrder
from tests.service.shop import ORDERS, Json, Message, Shop, cents, event

EVENTS = st.sampled_from(
    [
        "ATTEMPT_SUCCESS",
        "ATTEMPT_SUCCESS",
        "ATTEMPT_SUCCESS",
        "ATTEMPT_FAILED",
        "ATTEMPT_EXPIRED",
        "ATTEMPT_CANCELLED",
        "TRANSACTION_SETTLED",
        "TRANSACTION_CANCELLED",
    ]
)
AMOUNTS = st.integers(0, 700)
# `paid` of the event's transaction, where it has one.
CUMULATIVE = st.none() | st.integers(0, 1000)


def money(amount_cents: int) -> str:
    return f"{amount_cents // 100}.{amount_cents % 100:02}"


def said(message: Message) -> tuple[str, int]:
    """A message as the model writes it."""
    value = message.value
    amount = value["amount"] if "amount" in value else value.get("payment", {}).get("paid", "0")
    return message.type, cents(amount)


class Payments(RuleBasedStateMachine):
    """One order, on a service that all runs share, and beside it the model of an order."""

    deliveries: Bundle[Json] = Bundle("deliveries")

    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self.shop = shop

    @initialize(
        total=st.integers(0, 1000),
        customer=st.booleans(),
        checks=st.lists(st.integers(0, 600), max_size=3),
    )
    def create(self, total: int, customer: bool, checks: list[int]) -> None:
        self.model = ModelOrder(total, customer, checks)
        self.order = self.shop.order(
            total=money(total),
            customerId="ann" if customer else None,
            checks=[{"total": money(check)} for check in checks],
            allocations=[{"allocationId": "gift"}],
        )
        self.compare()

    @rule()
    def start_order(self) -> None:
        answer = self.shop.http.post(f"{ORDERS}/{self.order['id']}/payments")
        assert answer.status_code == (200 if self.model.start_order() else 409)
        self.compare()

    @precondition(lambda self: self.model.checks)
    @rule(data=st.data())
    def start_check(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.model.checks) - 1))
        check_id = self.order["checks"][index]["id"]
        answer = self.shop.http.post(f"{ORDERS}/{self.order['id']}/checks/{check_id}/payments")
        assert answer.status_code == (200 if self.model.start_check(index) else 409)
        self.compare()

    @rule(
        target=deliveries,
        event_type=EVENTS,
        amount=AMOUNTS,
        cumulative=CUMULATIVE,
        attempt=st.uuids(version=4),
    )
    def order_event(
        self, event_type: str, amount: int, cumulative: int | None, attempt: UUID
    ) -> Json:
        sent = event(
            event_type,
            order=self.order["id"],
            amount=money(amount),
            paid=None if cumulative is None else money(cumulative),
            attempt_id=f"{len(self.model.published)} {attempt}",
        )
        self.model.order_event(event_type, amount, cumulative)
        self.shop.deliver(sent)
        self.compare()
        return sent

    @precondition(lambda self: self.model.checks)
    @rule(
        target=deliveries,
        data=st.data(),
        event_type=EVENTS,
        amount=AMOUNTS,
        cumulative=CUMULATIVE,
        attempt=st.uuids(version=4),
    )
    def check_event(
        self,
        data: st.DataObject,
        event_type: str,
        amount: int,
        cumulative: int | None,
        attempt: UUID,
    ) -> Json:
        index = data.draw(st.integers(0, len(self.model.checks) - 1))
        sent = event(
            event_type,
            check=self.order["checks"][index]["id"],
            amount=money(amount),
            paid=None if cumulative is None else money(cumulative),
            attempt_id=f"{len(self.model.published)} {attempt}",
        )
        self.model.check_event(index, event_type, amount, cumulative)
        self.shop.deliver(sent)
        self.compare()
        return sent

    @rule(sent=deliveries)
    def repeat(self, sent: Json) -> None:
        self.shop.deliver(sent)
        self.compare()

    def compare(self) -> None:
        order = self.shop.read(self.order["id"])
        model = self.model
        assert (order["status"], cents(order["paid"])) == (
            model.order.status,
            model.order.paid,
        )
        assert [(check["status"], cents(check["paid"])) for check in order["checks"]] == [
            (check.status, check.paid) for check in model.checks
        ]
        assert order["points"] == model.points
        assert order["allocations"][0]["status"] == model.allocation
        assert [
            said(message)
            for message in self.shop.messages()
            if message.group_key == self.order["id"]
        ] == model.published


@pytest.mark.timeout(240)
def test_random_events_do_what_the_model_says(shop: Shop) -> None:
    class OnShop(Payments):
        def __init__(self) -> None:
            super().__init__(shop)

    run_state_machine_as_test(
        OnShop,
        settings=settings(
            max_examples=25,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
