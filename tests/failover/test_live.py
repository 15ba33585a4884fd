"""After a failover no WebSocket client waits for updates that its reader passes over."""

from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from service.payments.live.clients import TRY_AGAIN_LATER
from tests.eventually import eventually
from tests.pair import Pair
from tests.servers import TEMPLATE
from tests.service.payments.live_socket import WS
from tests.service.shop import Json, Shop, event

pytestmark = pytest.mark.long

DEAF = ("alter system set primary_conninfo = ''", "select pg_reload_conf()")
FOLLOWS = "select count(*) from pg_stat_wal_receiver"
# More than the service needs for anything below.
MANY = 500


def lose(pair: Pair) -> None:
    """The primary takes writes that its standby will never have, and is then of no use."""
    with psycopg.connect(pair.standby.dsn(), autocommit=True) as standby:
        for statement in DEAF:
            standby.execute(statement)

        def deaf() -> None:
            assert standby.execute(FOLLOWS).fetchone() == (0,)

        eventually(deaf, 30)
    with psycopg.connect(pair.primary.dsn(), autocommit=True) as primary:
        for _ in range(MANY):
            primary.execute("select pg_current_xact_id()")


def pay(shop: Shop) -> tuple[Json, Json]:
    """An order whose payment has begun, and the event that completes it."""
    order = shop.processing_order()
    return order, event("ATTEMPT_SUCCESS", order=order["id"], paid="10")


def ready(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200


@pytest.mark.timeout(120)
def test_clients_are_asked_to_come_again_and_are_told_of_what_comes_then(
    pair: Pair, client: TestClient
) -> None:
    database: psycopg.Connection[Any]
    with psycopg.connect(pair.primary.dsn(TEMPLATE), autocommit=True) as database:
        shop = Shop(client, database)
        order, paid = pay(shop)
        path = f"{WS}?orderId={order['id']}"
        with client.websocket_connect(path) as socket:
            written = database.execute("select pg_switch_wal()::text").fetchone()

            def has_order() -> None:
                with psycopg.connect(pair.standby.dsn()) as standby:
                    query = "select pg_last_wal_replay_lsn() >= %s::pg_lsn"
                    assert standby.execute(query, written).fetchone() == (True,)

            eventually(has_order, 30)
            lose(pair)
            other, _ = pay(shop)
            with client.websocket_connect(f"{WS}?orderId={other['id']}"):
                pass
            pair.fence()
            pair.address.switch(pair.standby.port)
            pair.promote()
            eventually(lambda: ready(client), 20)
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
        assert closed.value.code == TRY_AGAIN_LATER
        with client.websocket_connect(path) as socket:
            shop.deliver(paid)
            assert socket.receive_json()["status"] == "COMPLETED"
