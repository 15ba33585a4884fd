"""What a pooler or its server ended in a quiet time costs no request anything."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from local.pgbouncer import PgBouncer
from tests.service.payments.live_socket import WS
from tests.service.shop import Shop, event

pytestmark = pytest.mark.long

END = """
    select bool_and(pg_terminate_backend(pid, 10000)) from pg_stat_activity
    where datname = current_database() and application_name = 'outbox-service'
"""


def by_the_pooler(_: Shop, pooler: PgBouncer) -> None:
    """Its connections to the server, as by server_idle_timeout and server_lifetime."""
    pooler.tell("reconnect")


def by_the_server(shop: Shop, _: PgBouncer) -> None:
    """The same ones, and the pooler was not asked."""
    assert shop.database.execute(END).fetchone() == (True,)


def on_both_sides(shop: Shop, pooler: PgBouncer) -> None:
    """Its clients' as well, as by client_idle_timeout."""
    pooler.tell(f"kill {shop.database.info.dbname}")
    pooler.tell(f"resume {shop.database.info.dbname}")


def by_a_restart(_: Shop, pooler: PgBouncer) -> None:
    pooler.kill()
    pooler.restart()


@pytest.mark.parametrize("end", [by_the_pooler, by_the_server, on_both_sides, by_a_restart])
def test_every_request_is_answered(
    shop: Shop, client: TestClient, pooler: PgBouncer, end: Callable[[Shop, PgBouncer], None]
) -> None:
    for _ in range(3):
        for _ in range(4):
            shop.order()
        end(shop, pooler)
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize("end", [by_the_pooler, by_the_server, on_both_sides, by_a_restart])
def test_a_websocket_goes_on(
    shop: Shop, client: TestClient, pooler: PgBouncer, end: Callable[[Shop, PgBouncer], None]
) -> None:
    order = shop.processing_order()
    with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
        end(shop, pooler)
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="4"))
        assert socket.receive_json()["status"] == "PARTIAL"
