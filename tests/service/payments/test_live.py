"""WebSockets: every client of every process, and only what has committed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from threading import Event
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.app import create_app
from service.database import Transaction
from service.payments.live import sockets, updates
from service.settings import Settings
from tests.eventually import eventually
from tests.service.shop import ORDERS, Json, Shop, event

WS = "/v1/api/sale/ws"

PUBLISH = "select sale.publish_update(%(order_id)s, %(update)s::json)"


@pytest.fixture
def other_process(database_url: str) -> Iterator[TestClient]:
    """A second service on the same database, sharing nothing else with the first."""
    with TestClient(create_app(Settings(database_url=database_url, pool_size=2))) as client:
        yield client


@pytest.fixture
def patient(database_url: str) -> Iterator[TestClient]:
    """A service that gives up no statement while a test runs."""
    app = create_app(Settings(database_url=database_url, pool_size=4, database_timeout_seconds=60))
    with TestClient(app) as client:
        yield client


def update(order_id: str, reason: str) -> Json:
    """An update that is told from others by its reason."""
    payment = {"total": "10", "paid": "0", "currency": "EUR", "isFullyPaid": False}
    return {
        "event": "ORDER_PAYMENT_UPDATED",
        "orderId": order_id,
        "status": "CANCELLED",
        "payment": payment,
        "cancellationReason": reason,
    }


def publish(connection: psycopg.Connection[Any], order_id: str, reason: str) -> None:
    parameters = {"order_id": order_id, "update": json.dumps(update(order_id, reason))}
    connection.execute(PUBLISH, parameters)


def reason(socket: WebSocketTestSession) -> str:
    """The reason of the next update."""
    told: str = socket.receive_json()["cancellationReason"]
    return told


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


def test_what_was_rolled_back_reaches_nobody(
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
        publish(shop.database, order["id"], "while nobody was there")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422),
        ("?orderId=", 422),
        ("?orderId=nonsense", 404),
        ("?orderId=00000000-0000-4000-8000-000000000000", 404),
    ],
)
def test_a_client_of_no_order_is_refused(client: TestClient, query: str, status: int) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(WS + query),
    ):
        pass
    assert caught.value.status_code == status
    assert json.loads(caught.value.content)["field"] == "orderId"


def refusal(client: TestClient, order_id: str) -> int:
    """The status with which a client of this order is refused."""
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect(f"{WS}?orderId={order_id}"),
    ):
        pass
    return caught.value.status_code


def test_for_a_client_too_many_the_order_with_most_clients_gives_its_oldest(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.live, "_max_clients", 4)  # type: ignore[attr-defined]
    crowded, mine = shop.order(), shop.order()

    def connect(order: Json) -> WebSocketTestSession:
        return stack.enter_context(client.websocket_connect(f"{WS}?orderId={order['id']}"))

    with ExitStack() as stack:
        neighbour = connect(mine)
        crowd = [connect(crowded) for _ in range(3)]
        newcomer = connect(mine)
        with pytest.raises(WebSocketDisconnect) as caught:
            crowd[0].receive_json()
        assert caught.value.code == 1013
        publish(shop.database, mine["id"], "mine")
        assert (reason(neighbour), reason(newcomer)) == ("mine", "mine")
        publish(shop.database, crowded["id"], "crowded")
        assert [reason(one) for one in crowd[1:]] == ["crowded", "crowded"]


def test_a_client_is_refused_where_too_many_are_coming_and_going(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.live, "_present", 1500)  # type: ignore[attr-defined]
    assert refusal(client, shop.order()["id"]) == 503


@pytest.fixture
def read_is_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, Event]]:
    """The first one that has read and was not let go, and what lets it, and all others, go."""
    has_read, may_go = Event(), Event()
    read = updates._read_since

    async def held(transaction: Transaction, seen: str) -> list[updates.Seen]:
        rows = await read(transaction, seen)
        has_read.set()
        await asyncio.to_thread(may_go.wait, 30)
        return rows

    monkeypatch.setattr(updates, "_read_since", held)
    yield has_read, may_go
    may_go.set()


def test_a_client_that_joins_waits_for_no_read(
    shop: Shop, patient: TestClient, read_is_held: tuple[Event, Event]
) -> None:
    has_read, _ = read_is_held
    path = f"{WS}?orderId={shop.order()['id']}"
    with patient.websocket_connect(path):
        assert has_read.wait(20)
        with patient.websocket_connect(path):
            pass


def test_a_client_that_comes_as_the_last_one_leaves_begins_where_it_came(
    shop: Shop, patient: TestClient, read_is_held: tuple[Event, Event]
) -> None:
    """What was being read for those before it is neither its beginning nor its end."""
    has_read, may_go = read_is_held
    order = shop.order()
    path = f"{WS}?orderId={order['id']}"
    with patient.websocket_connect(path):
        assert has_read.wait(20)
    eventually(lambda: _is(not patient.app.state.live._count))  # type: ignore[attr-defined]
    publish(shop.database, order["id"], "past")
    with patient.websocket_connect(path) as socket:
        publish(shop.database, order["id"], "first")
        may_go.set()
        assert reason(socket) == "first"
        publish(shop.database, order["id"], "second")
        assert reason(socket) == "second"


def test_updates_wait_for_nobody_who_asks_to_join(
    shop: Shop, patient: TestClient, database_url: str
) -> None:
    def waits_for_the_database() -> None:
        assert shop.database.execute("select from pg_locks where not granted").fetchall()

    order = shop.order()
    with (
        ThreadPoolExecutor(1) as strangers,
        patient.websocket_connect(f"{WS}?orderId={order['id']}") as socket,
        psycopg.connect(database_url) as holder,
    ):
        holder.execute("lock table sale.sale_order in access exclusive mode")
        stranger = strangers.submit(refusal, patient, str(uuid4()))
        eventually(waits_for_the_database)
        publish(shop.database, order["id"], "on time")
        assert reason(socket) == "on time"
        assert not stranger.done()
        holder.rollback()
        assert stranger.result(30) == 404


async def send_to(answers: Callable[[str], Awaitable[None]]) -> list[str]:
    """Sends one update on a connection that answers so; the types of what was sent on it."""
    seen: list[str] = []

    async def receive() -> Json:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        seen.append(message["type"])
        await answers(message["type"])

    socket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await socket.accept()
    waiting = updates.Client("order")
    waiting.offer("{}")
    async with asyncio.timeout(10):
        await sockets.send_updates(socket, waiting)
    return seen


def test_a_client_that_takes_nothing_is_let_go_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sockets, "SEND_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(sockets, "CLOSE_TIMEOUT_SECONDS", 0.05)

    async def hang(message_type: str) -> None:
        if message_type != "websocket.accept":
            await asyncio.Event().wait()

    sent = asyncio.run(send_to(hang))
    assert sent == ["websocket.accept", "websocket.send", "websocket.close"]


def test_a_client_that_goes_while_it_is_sent_to_is_no_fault() -> None:
    async def gone(message_type: str) -> None:
        if message_type != "websocket.accept":
            raise OSError

    assert asyncio.run(send_to(gone)) == ["websocket.accept", "websocket.send"]


def test_a_client_that_does_not_keep_up_is_dropped_and_slows_nobody(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of one transaction is more than the queue of its order's client holds."""
    monkeypatch.setattr(updates, "MAX_PENDING_UPDATES", 10)
    slow, quick = shop.order(), shop.order()
    with (
        client.websocket_connect(f"{WS}?orderId={slow['id']}") as flooded,
        client.websocket_connect(f"{WS}?orderId={quick['id']}") as socket,
    ):
        with shop.database.transaction():
            for number in range(50):
                publish(shop.database, slow["id"], str(number))
            publish(shop.database, quick["id"], "on time")
        assert reason(socket) == "on time"
        assert [reason(flooded) for _ in range(10)] == [str(number) for number in range(10)]
        with pytest.raises(WebSocketDisconnect) as caught:
            flooded.receive_json()
        assert caught.value.code == 1013
        publish(shop.database, quick["id"], "still there")
        assert reason(socket) == "still there"


BAD_ROW = """
    insert into outbox.message (channel, type, group_key, priority, payload)
    values ('outbox.live', 'ORDER_PAYMENT_UPDATED', %(group_key)s, 1, %(payload)s) returning id
"""
BAD_ROWS: dict[str, Callable[[Json], bytes]] = {
    "no text": lambda _: b"\xff",
    "no text inside": lambda good: json.dumps({**good, "x": "?"}).encode().replace(b"?", b"\xff"),
    "no JSON": lambda _: b"{",
    "nothing": lambda _: b"",
    "nested deeply": lambda _: b"[" * 100_000,
    "another shape": lambda _: b'"late"',
    "a field missing": lambda good: json.dumps({**good, "payment": {}}).encode(),
    "a status that there is not": lambda good: json.dumps({**good, "status": "PAID"}).encode(),
    "another event": lambda good: json.dumps({**good, "event": "NEWS"}).encode(),
    "of another order": lambda good: json.dumps({**good, "orderId": str(uuid4())}).encode(),
}


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_row_that_is_no_update_skips_itself_and_closes_nobodys_socket(
    shop: Shop, client: TestClient, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """The order's own client and another's: what came before it and what comes after arrives."""
    mine, other = shop.order(), shop.order()
    payload = BAD_ROWS[kind](update(mine["id"], "bad"))
    with (
        client.websocket_connect(f"{WS}?orderId={mine['id']}") as socket,
        client.websocket_connect(f"{WS}?orderId={other['id']}") as beside,
    ):
        with shop.database.transaction():
            publish(shop.database, mine["id"], "before")
            values = {"group_key": mine["id"], "payload": payload}
            row = shop.database.execute(BAD_ROW, values).fetchone()
            publish(shop.database, mine["id"], "behind")
        publish(shop.database, mine["id"], "after")
        assert [reason(socket) for _ in range(3)] == ["before", "behind", "after"]
        publish(shop.database, other["id"], "beside")
        assert reason(beside) == "beside"
    assert row is not None
    logged = [line for line in capsys.readouterr().out.splitlines() if "updates skipped" in line]
    assert len(logged) == 1
    assert f"message_ids=[{row[0]}]" in logged[0]
    assert "service_live_updates_skipped_total 1.0" in client.get("/metrics").text


def test_a_row_without_a_group_skips_itself(shop: Shop, client: TestClient) -> None:
    order = shop.order()
    with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
        payload = json.dumps(update(order["id"], "bad")).encode()
        shop.database.execute(BAD_ROW, {"group_key": None, "payload": payload})
        publish(shop.database, order["id"], "after")
        assert reason(socket) == "after"


def test_many_rows_that_are_no_updates_are_one_line_of_the_log(
    shop: Shop, client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    order = shop.order()
    with client.websocket_connect(f"{WS}?orderId={order['id']}") as socket:
        with shop.database.transaction():
            for _ in range(500):
                values = {"group_key": order["id"], "payload": b"\xff"}
                shop.database.execute(BAD_ROW, values)
            publish(shop.database, order["id"], "after")
        assert reason(socket) == "after"
    [logged] = [line for line in capsys.readouterr().out.splitlines() if "updates skipped" in line]
    assert "count=500" in logged
    assert len(logged) < 500


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


WAIT_FOR_LOCKS = """
select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'
"""


def test_updates_wait_behind_no_requests(
    shop: Shop, patient: TestClient, database_url: str
) -> None:
    """More of them than there are connections in the pool, and each waits for the database."""
    order = shop.order()

    def waiting() -> None:
        # Of four connections who asks leaves one to others.
        assert shop.database.execute(WAIT_FOR_LOCKS).fetchone() == (3,)

    with (
        ThreadPoolExecutor(8) as requests,
        patient.websocket_connect(f"{WS}?orderId={order['id']}") as socket,
        psycopg.connect(database_url) as holder,
    ):
        holder.execute("lock table sale.sale_order in access exclusive mode")
        answers = [requests.submit(patient.get, f"{ORDERS}/{order['id']}") for _ in range(8)]
        eventually(waiting)
        publish(shop.database, order["id"], "on time")
        assert reason(socket) == "on time"
        assert not any(answer.done() for answer in answers)
        holder.rollback()
        assert {answer.result(30).status_code for answer in answers} == {200}
