"""WebSockets: every client of every process is told, and only of what has committed."""

from collections.abc import Iterator
from datetime import datetime
from uuid import uuid4

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.payments.live import updates
from service.settings import Settings
from tests.eventually import eventually
from tests.service.payments.live_socket import WS, publish, reason
from tests.service.shop import Shop, event


@pytest.fixture
def other_process(database_url: str) -> Iterator[TestClient]:
    """A second service on the same database, sharing nothing else with the first."""
    with TestClient(create_app(Settings(database_url=database_url, pool_size=2))) as client:
        yield client


def test_an_update_reaches_clients_of_every_process(
    shop: Shop, client: TestClient, other_process: TestClient
) -> None:
    order = shop.processing_order()
    path = f"{WS}?orderId={order['id']}"
    with (
        client.websocket_connect(path) as first,
        client.websocket_connect(
            path.upper().replace(WS.upper(), WS).replace("ORDERID", "orderId")
        ) as second,
        other_process.websocket_connect(path) as third,
    ):
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="4"))
        for socket in (first, second, third):
            assert socket.receive_json() == {
                "event": "ORDER_PAYMENT_UPDATED",
                "orderId": order["id"],
                "status": "PARTIAL",
                "payment": {
                    "total": "10.00",
                    "paid": "4",
                    "currency": "EUR",
                    "isFullyPaid": False,
                },
            }
        shop.step(order["id"], "payments")
        shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
        for socket in (first, second, third):
            update = socket.receive_json()
            assert (update["status"], update["payment"]["isFullyPaid"]) == ("COMPLETED", True)


def test_only_clients_of_the_order_are_told(shop: Shop, client: TestClient) -> None:
    mine, other = shop.processing_order(), shop.processing_order()
    with client.websocket_connect(f"{WS}?orderId={mine['id']}") as socket:
        for order in (other, mine):
            shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
        assert socket.receive_json()["orderId"] == mine["id"]


def test_an_update_arrives_after_its_commit_though_newer_ones_came_first(
    shop: Shop, client: TestClient, database_url: str
) -> None:
    """A message is written and held back; a later one commits; then the first one does."""
    order = shop.order()
    with (
        psycopg.connect(database_url) as late,
        client.websocket_connect(f"{WS}?orderId={order['id']}") as socket,
    ):
        publish(late, order["id"], "late")
        publish(shop.database, order["id"], "early")
        assert reason(socket) == "early"
        publish(shop.database, order["id"], "early again")
        assert reason(socket) == "early again"
        late.commit()
        assert reason(socket) == "late"


def test_what_was_rolled_back_reaches_no_client(
    shop: Shop, client: TestClient, database_url: str
) -> None:
    order = shop.order()
    with (
        psycopg.connect(database_url) as connection,
        client.websocket_connect(f"{WS}?orderId={order['id']}") as socket,
    ):
        publish(connection, order["id"], "never")
        connection.rollback()
        publish(shop.database, order["id"], "next")
        assert reason(socket) == "next"


def test_a_transaction_that_was_open_when_the_client_came_is_seen(
    shop: Shop, client: TestClient, database_url: str
) -> None:
    order = shop.order()
    with psycopg.connect(database_url) as connection:
        publish(connection, order["id"], "begun before")
        with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
            connection.commit()
            assert reason(socket) == "begun before"


def test_what_committed_before_the_client_came_is_not_repeated(
    shop: Shop, client: TestClient
) -> None:
    order = shop.order()
    publish(shop.database, order["id"], "past")
    for visit in ("first", "second"):
        with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
            publish(shop.database, order["id"], visit)
            assert reason(socket) == visit
        publish(shop.database, order["id"], "while no client was there")


def test_a_process_without_clients_reads_nothing(shop: Shop, client: TestClient) -> None:
    """A reader asks twenty times per second; half a second of silence is none."""

    def last_query() -> tuple[datetime, float]:
        """When it began, and how many seconds ago that was."""
        row = shop.database.execute(
            """
            select max(query_start), extract(epoch from clock_timestamp() - max(query_start))
            from pg_stat_activity
            where application_name = 'outbox-service' and datname = current_database()
            """
        ).fetchone()
        assert row is not None
        return row[0], float(row[1])

    order = shop.order()
    with client.websocket_connect(f"{WS}?orderId={order['id']}"):
        joined, _ = last_query()
        eventually(lambda: _is(last_query()[0] > joined))
    eventually(lambda: _is(last_query()[1] > 0.5))


def _is(condition: bool) -> None:
    assert condition


def test_the_reader_stays_on_its_index(shop: Shop) -> None:
    """On a log with many messages, a read of nothing new touches a handful of pages."""
    shop.database.execute(
        """
        insert into outbox.message (channel, type, group_key, priority, payload)
        select 'outbox.live', 't', %(order_id)s, 1, '{}' from generate_series(1, 20000)
        """,
        {"order_id": str(uuid4())},
    )
    with shop.database.transaction(), shop.database.cursor() as cursor:
        cursor.execute(updates.ON_THE_INDEX, {})
        seen = cursor.execute("select pg_current_snapshot()::text").fetchone()
        assert seen is not None
        for plan in ("force_custom_plan", "force_generic_plan"):
            cursor.execute("select set_config('plan_cache_mode', %(plan)s, true)", {"plan": plan})
            explain = b"explain (analyze, buffers, format json) " + updates.READ.encode()
            row = cursor.execute(explain, {"seen": seen[0]}, prepare=True).fetchone()
            assert row is not None
            root = row[0][0]["Plan"]
            assert root["Actual Rows"] == 1
            assert root["Shared Hit Blocks"] + root["Shared Read Blocks"] < 100
