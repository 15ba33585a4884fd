"""Rows of the live channel that are no updates: each is skipped alone."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from starlette.testclient import TestClient

from tests.service.payments.live_socket import WS, publish, reason, update
from tests.service.shop import Json, Shop

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
def test_a_row_that_is_no_update_is_skipped_and_closes_no_socket(
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
