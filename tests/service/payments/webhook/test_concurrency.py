"""Many deliveries at once, on real processes and real locks."""

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from typing import Any, NamedTuple

import httpx2
import psycopg
import pytest

from service.database.pool import SHARE
from service.payments.webhook.unapplied import UNAPPLIED
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.shop import ORDERS, WEBHOOKS, Json, Message, Shop, cents, event

pytestmark = pytest.mark.long

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


class Request(NamedTuple):
    """A POST: a webhook, or a step without a body."""

    path: str
    body: Json | None = None


def send_all(urls: Sequence[str], requests: Sequence[Request], threads: int) -> list[int]:
    """Sends the requests from many threads, each to one of the processes; their statuses.

    By http.client, which costs a fraction of a full client: the service is to be busy, not this.
    """

    def send(thread: int) -> list[int]:
        address = urls[thread % len(urls)].removeprefix("http://")
        with closing(HTTPConnection(address, timeout=60)) as connection:
            return [send_one(connection, request) for request in requests[thread::threads]]

    with ThreadPoolExecutor(threads) as pool:
        return [status for statuses in pool.map(send, range(threads)) for status in statuses]


def send_one(connection: HTTPConnection, request: Request) -> int:
    body = None if request.body is None else json.dumps(request.body)
    connection.request("POST", request.path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = json.loads(answer.read())
    if request.path == WEBHOOKS:
        assert (answer.status, content) == (200, {"acknowledged": True})
    return answer.status


def deliver_behind_a_lock(
    shop: Shop, database_url: str, urls: Sequence[str], events: Sequence[Json], order_id: str
) -> list[int]:
    """Holds the order's row until as many deliveries wait for it as can, then lets them race."""
    # They come from one address, which leaves something to the others.
    waiting_at_most = min(len(events), PROCESSES * (POOL_SIZE - POOL_SIZE // SHARE))

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
        requests = [Request(WEBHOOKS, sent) for sent in events]
        statuses = background.submit(send_all, urls, requests, len(requests))
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


# The next transaction to record a webhook records it in the other of two partitions.
SCATTER = """
alter sequence sale.received_webhook_id_seq increment 100000000000 maxvalue 199999999999 cycle
"""


@pytest.mark.parametrize("kind", ["order", "check", "order, in two partitions"])
def test_fifty_deliveries_of_one_webhook_at_once_have_one_effect(
    shop: Shop, urls: list[str], database_url: str, kind: str
) -> None:
    if kind not in ("order", "check"):
        shop.database.execute(SCATTER)
        kind = "order"
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


def random_start(chance: random.Random, orders: Sequence[Json]) -> Request:
    """Starts a payment: of a check, or of every second order, so that others need their checks."""
    place = chance.randrange(len(orders))
    order = orders[place]
    if place % 2 and chance.random() < 0.5:
        return Request(f"{ORDERS}/{order['id']}/payments")
    return Request(f"{ORDERS}/{order['id']}/checks/{chance.choice(order['checks'])['id']}/payments")


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_ten_thousand_random_events_on_two_hundred_orders_meet_no_deadlock_and_lose_no_money(
    shop: Shop, urls: list[str]
) -> None:
    """Ten thousand deliveries, two processes, sixteen threads, payments started all the while."""
    chance = random.Random(20)
    sent: list[Json] = []
    every: list[Json] = []
    for batch in range(10):
        orders = [
            shop.order(total="6", customerId="ann", checks=[{"total": "2"}] * 3) for _ in range(20)
        ]
        every += orders
        requests = [Request(WEBHOOKS, random_event(chance, orders, sent)) for _ in range(1000)]
        requests += [random_start(chance, orders) for _ in range(100)]
        chance.shuffle(requests)
        assert set(send_all(urls, requests, threads=16)) <= {200, 409}, f"in batch {batch}"
    row = shop.database.execute(
        "select deadlocks from pg_stat_database where datname = current_database()"
    ).fetchone()
    assert row == (0,)
    recorded = shop.database.execute("select count(*) from sale.received_webhook").fetchone()
    assert recorded == (len(sent),)
    messages: defaultdict[str | None, list[Message]] = defaultdict(list)
    for message in shop.messages():
        messages[message.group_key].append(message)
    after = [shop.read(order["id"]) for order in every]
    for order in after:
        assert_consistent(order, messages[order["id"]])
        assert_no_money_is_lost(order, messages[order["id"]], sent)
    started, never_started = after[1::2], after[::2]
    assert {"COMPLETED", "CANCELLED"} <= {order["status"] for order in started}
    # Only their checks could complete these.
    assert "COMPLETED" in {order["status"] for order in never_started}


def assert_consistent(order: Json, messages: Sequence[Message]) -> None:
    """What must be true of an order and its messages after any sequence of events."""
    types = [message.type for message in messages]
    completed, cancelled = order["status"] == "COMPLETED", order["status"] == "CANCELLED"
    assert types.count("order.paid") == completed
    assert types.count("order.cancelled") == cancelled
    assert order["points"] == (6 if completed else 0)
    paid = [
        cents(message.value["payment"]["paid"])
        for message in messages
        if message.type == "payment.success"
    ]
    assert paid == sorted(paid)
    assert cents(order["paid"]) == (paid[-1] if paid else 0)
    if completed:
        assert cents(order["paid"]) >= cents(order["total"])
    for check in order["checks"]:
        if check["status"] == "COMPLETED":
            assert cents(check["paid"]) >= cents(check["total"])


def assert_no_money_is_lost(order: Json, messages: Sequence[Message], sent: Sequence[Json]) -> None:
    """Every cent that came is in what an order was paid with, or was reported, or both."""
    targets = {order["id"], *(check["id"] for check in order["checks"])}
    attempts = [
        attempt
        for body in sent
        if body["eventType"] == "ATTEMPT_SUCCESS"
        if (attempt := body["payload"]["attempt"])["metadata"]["source"]["id"] in targets
    ]
    came = sum(cents(attempt["amount"]) for attempt in attempts)
    accounted = sum(
        cents(message.value["amount"]) for message in messages if message.type == UNAPPLIED.name
    )
    # A cancelled order keeps nothing; the checks of one that ended are in its paid, or reported.
    if order["status"] != "CANCELLED":
        accounted += cents(order["paid"])
    if order["status"] not in ("COMPLETED", "CANCELLED"):
        accounted += sum(cents(check["paid"]) for check in order["checks"])
    assert accounted >= came
