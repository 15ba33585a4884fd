"""The wire between the service and its database is cut: each webhook has one effect, once."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from tests.conftest import Spawn
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.service.shop import Shop, event

pytestmark = pytest.mark.long

CUTS = 3
# What goes over the wire at each moment of a webhook's transaction.
MOMENTS = {
    "connect": b"application_name",
    "first-statement": b"for no key update",
    "second-statement": b"sale.received_webhook",
    "publish": b"outbox.publish",
    "commit": b"COMMIT\0",
}


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    with Proxy(urlsplit(database_url).port or 5432) as proxy:
        yield proxy


@pytest.fixture
def shop(
    database_url: str, proxy: Proxy, spawn: Spawn, free_port: Callable[[], int]
) -> Iterator[Shop]:
    """The real service on the wire that is cut; the test looks into the database straight."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {
        "DATABASE_URL": proxy.url(database_url),
        "SERVICE_PORT": str(port),
        "SERVICE_POOL_SIZE": "1",
    }
    spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    with (
        httpx2.Client(base_url=url, timeout=20) as http,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        yield Shop(http, database)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_wire_that_is_cut_costs_and_doubles_no_payment(
    shop: Shop, proxy: Proxy, moment: str
) -> None:
    cuts = 0
    armed = False

    def cut(data: bytes) -> None:
        nonlocal cuts, armed
        if armed and MOMENTS[moment] in data:
            armed = False
            cuts += 1
            proxy.cut()

    proxy.watch = cut
    orders = []
    for _ in range(CUTS):
        order = shop.processing_order(customerId="ann")
        orders.append(order["id"])
        paid = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
        armed = True
        if moment == "connect":
            proxy.cut()

        def acknowledged(paid: dict[str, object] = paid) -> None:
            answer = shop.send(paid)
            assert answer.status_code == 200
            assert answer.json() == {"acknowledged": True}

        eventually(acknowledged, 20)
    assert cuts == CUTS
    assert [shop.read(order)["status"] for order in orders] == ["COMPLETED"] * CUTS
    assert [shop.read(order)["points"] for order in orders] == [10] * CUTS
    assert [message.group_key for message in shop.messages("payment.success")] == orders
