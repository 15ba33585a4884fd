"""Promises of what the saga's services answer over HTTP: to senders, and to customers."""

import asyncio
import base64
import time
from collections.abc import Iterator, Mapping

import httpx2
import msgspec
import pytest
from psycopg_pool import ConnectionPool

from demo.saga.orchestrator import MAX_AMOUNT_CENTS, MAX_QUANTITY
from demo.saga.services import order
from demo.saga.services.life import Pool, app
from demo.subscribers.signature import key_of
from relay.push.requests.signature import Signer
from tests.demo.saga.world import Message, World, an_order, committed

CHANNEL = "inventory.replies"
SECRETS = {
    channel: "whsec_" + base64.b64encode(channel.ljust(32).encode()).decode()
    for channel in (CHANNEL, "fulfilment.replies")
}


class Shop:
    """The order service without a socket, and everything behind it."""

    def __init__(self, pool: Pool, world: World) -> None:
        self.world = world
        self._app = app(order.service(), pool, SECRETS, lambda: True)

    def post(self, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> int:
        """The status of the answer."""

        async def ask() -> int:
            transport = httpx2.ASGITransport(app=self._app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://it") as http:
                return (await http.post(path, content=body, headers=headers)).status_code

        return asyncio.run(ask())


@pytest.fixture
def shop(saga_url: str) -> Iterator[Shop]:
    with committed(saga_url, 1) as (world,):
        pool: Pool = ConnectionPool(
            saga_url, kwargs={"autocommit": True}, min_size=1, max_size=2, open=True
        )
        with pool:
            yield Shop(pool, world)


def signed(message: Message, channel: str = CHANNEL) -> dict[str, str]:
    """The headers by which it comes, signed with the secret of this channel."""
    now, signer = int(time.time()), Signer([key_of(SECRETS[channel])])
    return {
        "webhook-id": message.key,
        "webhook-timestamp": str(now),
        "webhook-signature": signer.sign(message.key.encode(), now, message.payload).decode(),
    }


def test_a_signed_reply_moves_the_saga_once_and_one_that_is_not_moves_nothing(shop: Shop) -> None:
    wanted = shop.world.begin(an_order())
    reply = shop.world.deliver_until(wanted.id, "reserve.done")
    path = f"/webhooks/{CHANNEL}"
    for foreign in ({}, signed(reply, "fulfilment.replies")):
        assert shop.post(path, reply.payload, foreign) == 401
    assert shop.world.saga(wanted.id) == ("forward", "stock")
    for _ in range(2):
        assert shop.post(path, reply.payload, signed(reply)) == 204
    assert shop.world.saga(wanted.id) == ("forward", "money")
    assert shop.world.history(wanted.id).count("done reserve") == 1


def test_an_order_and_a_cancel_that_are_sent_again_have_one_effect(shop: Shop) -> None:
    wanted = an_order()
    body = msgspec.json.encode(wanted)
    assert [shop.post("/orders", body) for _ in range(2)] == [201, 200]
    cancel = f"/orders/{wanted.id}/cancel"
    assert [shop.post(cancel) for _ in range(2)] == [200, 200]
    assert shop.world.history(wanted.id).count("cancelled reserve") == 1
    assert shop.post(f"/orders/{an_order().id}/cancel") == 404


def test_an_order_at_the_pivot_can_not_be_cancelled(shop: Shop) -> None:
    wanted = shop.world.begin(an_order())
    shop.world.deliver_until(wanted.id, "ship")
    assert shop.post(f"/orders/{wanted.id}/cancel") == 409


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantity": 0},
        {"quantity": MAX_QUANTITY + 1},
        {"amount_cents": 0},
        {"amount_cents": MAX_AMOUNT_CENTS + 1},
        {"product": ""},
        {"product": "x" * 101},
    ],
    ids=["nothing", "too much", "free", "too dear", "no name", "too long"],
)
def test_an_order_of_no_sense_is_refused(shop: Shop, wrong: dict[str, object]) -> None:
    wanted = msgspec.structs.replace(an_order(), **wrong)
    assert shop.post("/orders", msgspec.json.encode(wanted)) == 400
