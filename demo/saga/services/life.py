"""The life of a service: messages from Kafka and as webhooks, one transaction each, and rounds.

From the environment: DATABASE_URL (its own), PORT, KAFKA_BOOTSTRAP_SERVERS, GROUP_ID, TOPIC_PREFIX,
and SECRETS, those of the webhooks' signatures by channel, in JSON.
"""

import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from confluent_kafka import Message
from psycopg_pool import ConnectionPool
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from demo.consumers.consumer import apply_or_count, idempotency_key, payload_of, read
from demo.consumers.inbox import Connection
from demo.endpoint import bounded_body, listen
from demo.saga.messages import KAFKA, WEBHOOKS
from demo.subscribers.signature import is_signed, key_of

Pool = ConnectionPool[Connection]

MAX_CONNECTIONS = 6
# How long a round waits that had nothing to do, as it mostly has not.
IDLE_SECONDS = 0.1


class Service(msgspec.Struct, frozen=True):
    """What makes a service another than its neighbours.

    take: does what a message says, in the open transaction. work: a round of what is due, returns
    how much was. routes: what it answers besides to people.
    """

    name: str
    take: Callable[[Connection, bytes], None]
    work: Callable[[Connection], int] | None = None
    routes: Callable[[Pool], Sequence[Route]] = lambda pool: ()


def live(service: Service) -> None:
    """Until it is killed. What fails in any of its threads ends the whole process.

    /healthz says 200 once messages can come both ways.
    """
    pool: Pool = ConnectionPool(
        os.environ["DATABASE_URL"],
        kwargs={"autocommit": True},
        min_size=2,
        max_size=MAX_CONNECTIONS,
        open=True,
    )
    is_ready = threading.Event()
    topics = [channel for channel, (_, receiver) in KAFKA.items() if receiver == service.name]
    for channel in topics:
        _begin(_read, service, pool, channel, is_ready)
    if not topics:
        is_ready.set()
    if service.work is not None:
        _begin(_work, service.work, pool)
    secrets = msgspec.json.decode(os.environ["SECRETS"], type=dict[str, str])
    listen(app(service, pool, secrets, is_ready.is_set))
    # Its threads wait for nobody: what they were doing is not committed, and comes again.
    os._exit(0)


def app(
    service: Service, pool: Pool, secrets: Mapping[str, str], is_ready: Callable[[], bool]
) -> Starlette:
    """All that a service answers over HTTP; `secrets` by the channels that come as webhooks."""

    async def on_health(_: Request) -> Response:
        return Response(status_code=200 if is_ready() else 503)

    webhooks = [
        Route(
            f"/webhooks/{channel}",
            _endpoint(service, pool, channel, key_of(secrets[channel])),
            methods=["POST"],
        )
        for channel, (_, receiver) in WEBHOOKS.items()
        if receiver == service.name
    ]
    healthz = Route("/healthz", on_health, methods=["GET"])
    return Starlette(routes=[*webhooks, healthz, *service.routes(pool)])


def receive(connection: Connection, service: Service, channel: str, key: str, body: bytes) -> bool:
    """One message, whichever way it came: inbox, state and outbox in one transaction.

    False where it had come before. Raises psycopg.Error, and what the service raises.
    """
    return apply_or_count(connection, channel, key, lambda: service.take(connection, body))


def _read(service: Service, pool: Pool, channel: str, is_ready: threading.Event) -> None:
    with pool.connection() as connection:

        def take(message: Message) -> None:
            receive(connection, service, channel, idempotency_key(message), payload_of(message))

        topic = os.environ["TOPIC_PREFIX"] + channel
        read(service.name, topic, threading.Event(), take, is_ready.set)


def _endpoint(service: Service, pool: Pool, channel: str, key: bytes) -> Callable[..., Any]:
    async def on_webhook(request: Request) -> Response:
        body = await bounded_body(request)
        if body is None:
            return PlainTextResponse("too large", 413)
        if not is_signed(key, request.headers, body, time.time()):
            return PlainTextResponse("this signature is not yours", 401)
        await run_in_threadpool(take, request.headers["webhook-id"], body)
        return Response(status_code=204)

    def take(message_key: str, body: bytes) -> None:
        with pool.connection() as connection:
            receive(connection, service, channel, message_key, body)

    return on_webhook


def _work(work: Callable[[Connection], int], pool: Pool) -> None:
    with pool.connection() as connection:
        while True:
            if not work(connection):
                time.sleep(IDLE_SECONDS)


def _begin(body: Callable[..., None], *arguments: object) -> None:
    """A thread. A process that has lost one of its threads is worse than one that is dead."""

    def run() -> None:
        try:
            body(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    threading.Thread(target=run, daemon=True).start()
