"""Many deliveries at once, on real processes and real locks."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import httpx2
import psycopg
import pytest

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.shop import ORDERS, WEBHOOKS, Json, Shop, cents, event

PROCESSES = 2
POOL_SIZE = 8


@pytest.fixture
def urls(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> list[str]:
    """Two service processes on one database."""
    found = []
    for _ in range(PROCESSES):
        port = free_port()
        spawn(
            "outbox-service",
            environment={
                "DATABASE_URL": database_url,
                "SERVICE_PORT": str(port),
                "SERVICE_POOL_SIZE": str(POOL_SIZE),
                "SERVICE_DATABASE_TIMEOUT_SECONDS": "30",
            },
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )
        found.append(f"http://127.0.0.1:{port}")
    return found


@pytest.fixture
def shop(urls: list[str], database: psycopg.Connection[Any]) -> Iterator[Shop]:
    """A caller of the first process."""
    with httpx2.Client(base_url=urls[0], timeout=60) as http:
        yield Shop(http, database)


def deliver_all(urls: Sequence[str], events: Sequence[Json], threads: int) -> list[int]:
    """Delivers the events from many threads, each to one of the processes; their statuses.

    By http.client, which costs a fraction of a full client: the service is to be busy, not this.
    """

    def deliver(thread: int) -> list[int]:
        address = urls[thread % len(urls)].removeprefix("http://")
        with closing(HTTPConnection(address, timeout=60)) as connection:
            return [deliver_one(connection, sent) for sent in events[thread::threads]]

    with ThreadPoolExecutor(threads) as pool:
        return [status for statuses in pool.map(deliver, range(threads)) for status in statuses]


def deliver_one(connection: HTTPConnection, sent: Json) -> int:
    connection.request("POST", WEBHOOKS, json.dumps(sent))
    answer = connection.getresponse()
    content = json.loads(answer.read())
    assert answer.status != 200 or content == {"acknowledged": True}
    return answer.status


def deliver_behind_a_lock(
    shop: Shop, database_url: str, urls: Sequence[str], events: Sequence[Json], order_id: str
) -> list[int]:
    """Holds the order's row until as many deliveries wait for it as can, then lets them race."""
    waiting_at_most = min(len(events), PROCESSES * POOL_SIZE)

    def all_wait() -> None:
        row = shop.database.execute(
            """
            select count(*) from pg_stat_activity
            where application_name = 'outbox-service' and wait_event_type = 'Lock'
              and datname = current_database()
            """
        ).fetchone()
        assert row is not None
        assert row[0] == waiting_at_most

    with psycopg.connect(database_url) as holder, ThreadPoolExecutor(1) as background:
        holder.execute("select from sale.sale_order where id = %s for update", [order_id])
        statuses = background.submit(deliver_all, urls, events, len(events))
        eventually(all_wait, timeout_seconds=20)
        holder.commit()
        return statuses.result()


def test_two_checks_that_complete_at_once_complete_their_order_once(
    shop: Shop, urls: list[str], database_url: str
) -> None:
    for _ in range(5):
        order = shop.order(
            customerId="ann",
            checks=[{"total": "4"}, {"total": "6"}],
            allocations=[{"allocationId": "gift"}],
        )
        before = len(shop.messages())
        events = [
            event("ATTEMPT_SUCCESS", check=check["id"], amount=check["total"])
            for check in order["checks"]
        ]
        statuses = deliver_behind_a_lock(shop, database_url, urls, events, order["id"])
        assert statuses == [200, 200]
        after = shop.read(order["id"])
        assert (after["status"], after["paid"], after["points"]) == ("COMPLETED", "10", 10)
        assert after["allocations"][0]["status"] == "SUCCESS"
        assert [message.type for message in shop.messages()[before:]] == [
            "payment.success",
            "ORDER_PAYMENT_UPDATED",
            "order.paid",
        ]


@pytest.mark.parametrize("kind", ["order", "check"])
def test_fifty_deliveries_of_one_webhook_at_once_have_one_effect(
    shop: Shop, urls: list[str], database_url: str, kind: str
) -> None:
    order = shop.processing_order(customerId="ann", checks=[{"total": "10"}])
    before = len(shop.messages())
    target = order["id"] if kind == "order" else order["checks"][0]["id"]
    sent = event("ATTEMPT_SUCCESS", amount="10", **{kind: target})
    statuses = deliver_behind_a_lock(shop, database_url, urls, [sent] * 50, order["id"])
    assert statuses == [200] * 50
    after = shop.read(order["id"])
    assert (after["status"], after["paid"], after["points"]) == ("COMPLETED", "10", 10)
    assert [message.type for message in shop.messages()[before:]] == [
        "payment.success",
        "ORDER_PAYMENT_UPDATED",
        "order.paid",
    ]


EVENT_TYPES = ["ATTEMPT_SUCCESS"] * 6 + [
    "ATTEMPT_FAILED",
    "ATTEMPT_EXPIRED",
    "ATTEMPT_CANCELLED",
    "TRANSACTION_SETTLED",
]


def random_event(chance: random.Random, orders: Sequence[Json], sent: list[Json]) -> Json:
    """A repeat of an earlier event, one in five; else a new one for any order or check."""
    if sent and chance.random() < 0.2:
        return chance.choice(sent)
    order = chance.choice(orders)
    target = (
        {"order": order["id"]}
        if chance.random() < 0.4
        else {"check": chance.choice(order["checks"])["id"]}
    )
    number = len(sent)
    fresh = event(
        chance.choice(EVENT_TYPES),
        amount=str(chance.randint(1, 3)),
        attempt_id=f"attempt {number}",
        **target,
    )
    sent.append(fresh)
    return fresh


@pytest.mark.timeout(300)
def test_ten_thousand_random_events_on_twenty_orders_meet_no_deadlock(
    shop: Shop, urls: list[str]
) -> None:
    """Ten thousand deliveries, two processes, sixteen threads, payments started all the while."""
    chance = random.Random(20)
    orders = [
        shop.processing_order(
            total="1000", customerId="ann", checks=[{"total": "300"}] * 3, allocations=[]
        )
        for _ in range(20)
    ]
    sent: list[Json] = []
    for batch in range(10):
        events = [random_event(chance, orders, sent) for _ in range(1000)]
        statuses = deliver_all(urls, events, threads=16)
        assert statuses == [200] * 1000, f"in batch {batch}"
        for order in orders:
            for step in ["payments", *(f"checks/{c['id']}/payments" for c in order["checks"])]:
                assert shop.http.post(f"{ORDERS}/{order['id']}/{step}").status_code in (200, 409)
    row = shop.database.execute(
        "select deadlocks from pg_stat_database where datname = current_database()"
    ).fetchone()
    assert row == (0,)
    for order in orders:
        assert_consistent(shop, order["id"])
    recorded = shop.database.execute("select count(*) from sale.received_webhook").fetchone()
    assert recorded == (len(sent),)


def assert_consistent(shop: Shop, order_id: str) -> None:
    """What must be true of an order and its messages after any sequence of events."""
    order = shop.read(order_id)
    messages = [message for message in shop.messages() if message.group_key == order_id]
    types = [message.type for message in messages]
    completed, cancelled = order["status"] == "COMPLETED", order["status"] == "CANCELLED"
    assert types.count("order.paid") == completed
    assert types.count("order.cancelled") == cancelled
    assert order["points"] == (1000 if completed else 0)
    paid = [
        cents(message.value["payment"]["paid"])
        for message in messages
        if message.type == "payment.success"
    ]
    assert paid == sorted(paid)
    assert cents(order["paid"]) == (paid[-1] if paid else 0)
    for check in order["checks"]:
        assert (check["status"] == "COMPLETED") <= (cents(check["paid"]) >= cents(check["total"]))
