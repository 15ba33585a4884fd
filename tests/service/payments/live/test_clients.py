"""WebSocket clients: who is taken and who is let go; none keeps updates from others."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocket, WebSocketDisconnect

from service.database.transaction import Transaction
from service.fair_turns import asks_for
from service.payments.live import clients, sockets, updates
from tests.eventually import eventually
from tests.service.payments.live_socket import WS, publish, reason
from tests.service.shop import ORDERS, Json, Shop


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


def test_an_address_with_sockets_on_many_orders_takes_places_from_itself(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = client.app.state.live  # type: ignore[attr-defined]
    monkeypatch.setattr(live, "_max_clients", 8)
    mine = UUID(shop.order()["id"])
    others = [UUID(shop.order()["id"]) for _ in range(9)]

    async def crowd() -> tuple[list[int | None], int]:
        async with AsyncExitStack() as stack:

            async def connect(order_id: UUID, address: str) -> clients.Client:
                asks_for.set(f"address {address}")
                joined: clients.Client = await stack.enter_async_context(live.client(order_id))
                return joined

            honest = [await connect(mine, f"10.0.0.{number}") for number in range(3)]
            crowd = [await connect(order_id, "10.6.6.6") for order_id in others]
            return [one.close_code for one in honest], sum(one.close_code is None for one in crowd)

    assert client.portal is not None
    assert client.portal.call(crowd) == ([None, None, None], 5)


def test_a_client_is_refused_where_too_many_are_coming_and_going(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.app.state.live, "_present", 1500)  # type: ignore[attr-defined]
    assert refusal(client, shop.order()["id"]) == 503


@pytest.fixture
def read_is_held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Event, Event]]:
    """The first one that has read and was not let go, and what lets it, and all others, go."""
    has_read, may_go = Event(), Event()
    read = updates.read_since

    async def held(transaction: Transaction, seen: str) -> list[updates.Seen]:
        rows = await read(transaction, seen)
        has_read.set()
        await asyncio.to_thread(may_go.wait, 30)
        return rows

    monkeypatch.setattr(updates, "read_since", held)
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

    def all_have_left() -> None:
        assert patient.app.state.live._count == 0  # type: ignore[attr-defined]

    with patient.websocket_connect(path):
        assert has_read.wait(20)
    eventually(all_have_left)
    publish(shop.database, order["id"], "past")
    with patient.websocket_connect(path) as socket:
        publish(shop.database, order["id"], "first")
        may_go.set()
        assert reason(socket) == "first"
        publish(shop.database, order["id"], "second")
        assert reason(socket) == "second"


def test_updates_wait_for_no_client_that_asks_to_join(
    shop: Shop, patient: TestClient, database_url: str
) -> None:
    def waits_for_the_database() -> None:
        assert shop.database.execute("select from pg_locks where not granted").fetchall()

    order = shop.order()
    with (
        ThreadPoolExecutor(1) as others,
        patient.websocket_connect(f"{WS}?orderId={order['id']}") as socket,
        psycopg.connect(database_url) as holder,
    ):
        holder.execute("lock table sale.sale_order in access exclusive mode")
        joining = others.submit(refusal, patient, str(uuid4()))
        eventually(waits_for_the_database)
        publish(shop.database, order["id"], "on time")
        assert reason(socket) == "on time"
        assert not joining.done()
        holder.rollback()
        assert joining.result(30) == 404


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
    waiting = clients.Client("order", "an address")
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


def test_a_client_that_does_not_keep_up_is_dropped_and_slows_no_other(
    shop: Shop, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst of one transaction is more than the queue of its order's client holds."""
    monkeypatch.setattr(clients, "MAX_PENDING_UPDATES", 10)
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
