"""After a crash of Postgres no WebSocket client waits for updates that its reader passes over."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Json
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from local.postgres import Postgres
from service.payments.live.clients import TRY_AGAIN_LATER
from service.payments.live.updates import EVENT
from tests.eventually import eventually
from tests.failover.serving import serving
from tests.failover.test_live import pay, ready
from tests.servers import TEMPLATE, make_template
from tests.service.payments.live_socket import WS
from tests.service.shop import Shop

pytestmark = pytest.mark.long

# So late comes to disk what no session waits for.
LATE = {"wal_writer_delay": "10s"}
XMAX = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
USED = "begin; select pg_current_xact_id(); rollback"
MANY = 500
PUBLISH = "select sale.publish_update(%s, %s, null)"
# The reader's sessions, which have looked since.
LOOKED = """
select count(*) from pg_stat_activity
where application_name = 'outbox-service' and query_start > %s
"""
NOW = "select clock_timestamp()"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Postgres]:
    with Postgres.start(tmp_path / "postgres", settings=LATE) as server:
        make_template(server)
        yield server
        server.kill()


@pytest.fixture
def client(server: Postgres) -> Iterator[TestClient]:
    with serving(server.dsn(TEMPLATE)) as client:
        yield client


def crash(server: Postgres) -> None:
    """As when the machine's power goes, and comes again."""
    assert server._process is not None
    os.kill(int((server.data_dir / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    server._process.wait(30)
    server.launch()


@pytest.mark.timeout(120)
def test_clients_are_asked_to_come_again_where_seen_transaction_ids_are_used_again(
    server: Postgres, client: TestClient
) -> None:
    with psycopg.connect(server.dsn(TEMPLATE), autocommit=True) as database:
        shop = Shop(client, database)
        order, paid = pay(shop)
        unpaid = {"total": "10", "paid": "0", "currency": "EUR", "isFullyPaid": False}
        update = {"event": EVENT, "orderId": order["id"], "status": "PROCESSING", "payment": unpaid}
        path = f"{WS}?orderId={order['id']}"
        with client.websocket_connect(path) as socket:
            for _ in range(MANY):
                database.execute(USED)
            used = database.execute(XMAX).fetchone()
            now = database.execute(NOW).fetchone()
            assert used is not None
            assert now is not None

            def looked() -> None:
                assert database.execute(LOOKED, now).fetchone() != (0,)

            eventually(looked, 10)
            crash(server)
            with psycopg.connect(server.dsn(TEMPLATE), autocommit=True) as again:
                assert again.execute(XMAX).fetchone() != used
                # Sooner than the reader is there again.
                again.execute(PUBLISH, [order["id"], Json(update)])
            eventually(lambda: ready(client), 20)
            shop.deliver(paid)
            with pytest.raises(WebSocketDisconnect) as closed:
                socket.receive_json()
        assert closed.value.code == TRY_AGAIN_LATER
