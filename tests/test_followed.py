"""A payment webhook is followed from request to consumers, and a stop waits for no collector."""

import os
import signal
import time
from collections.abc import Callable, Iterator

import httpx2
import psycopg
import pytest
from psycopg.types.json import Jsonb

from local.program import Program
from tests.conftest import CreateTopic, Spawn
from tests.eventually import eventually
from tests.receiver import Receiver
from tests.service.shop import WEBHOOKS, Shop, event
from tests.span_receiver import Context, SpanReceiver
from tests.topic_reader import Arrival, read_topic

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
CHANNEL = "payment.success"
TO_KAFKA = "update outbox.subscription set channels = %s where name = 'kafka'"
SUBSCRIBE = "select outbox.subscribe('billing', %s, %s, %s)"


@pytest.fixture
def spans() -> Iterator[SpanReceiver]:
    with SpanReceiver() as receiver:
        yield receiver


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def topic(database_url: str, create_topic: CreateTopic, endpoint: Receiver) -> str:
    """Of the channel that both subscriptions have."""
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(TO_KAFKA, [[CHANNEL]])
        database.execute(SUBSCRIBE, [CHANNEL, f"{endpoint.url}/billing", Jsonb({})])
    return create_topic(CHANNEL)


@pytest.fixture
def service(
    spawn: Spawn, database_url: str, spans: SpanReceiver, free_port: Callable[[], int]
) -> tuple[Program, str]:
    """A running service, and where it listens."""
    port = str(free_port())
    environment = {"DATABASE_URL": database_url, "SERVICE_PORT": port, **spans.variables()}
    url = f"http://127.0.0.1:{port}"
    return spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz"), url


@pytest.fixture
def relay(
    spawn: Spawn, database_url: str, kafka: str, topic: str, topic_prefix: str, spans: SpanReceiver
) -> Program:
    environment = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
        "RELAY_ALLOW_NETWORKS": "127.0.0.1/32",
        **spans.variables(),
    }
    return spawn("outbox-relay", "run", environment=environment)


def pay(url: str, database_url: str) -> None:
    """Delivers the webhook of a payment, within the trace."""
    with httpx2.Client(base_url=url) as http, psycopg.connect(database_url) as database:
        shop = Shop(http, database)
        order = shop.processing_order()
        paid = event("ATTEMPT_SUCCESS", order=order["id"], paid=10)
        shop.deliver(paid, {"traceparent": TRACEPARENT})


def test_a_webhook_is_followed_to_its_consumers(
    service: tuple[Program, str],
    relay: Program,
    database_url: str,
    kafka: str,
    topic: str,
    endpoint: Receiver,
    spans: SpanReceiver,
) -> None:
    pay(service[1], database_url)

    def arrived() -> Arrival:
        found = read_topic(kafka, topic)
        assert len(found) == 1
        return found[0]

    [request] = endpoint.wait(1, 30)
    arrival = eventually(arrived, 30)
    # What the request brought, to the letter.
    assert dict(arrival.headers)["traceparent"] == TRACEPARENT.encode()
    assert request.header("traceparent") == TRACEPARENT
    given = Context(TRACE, PARENT)
    [webhook] = spans.wait_for(f"POST {WEBHOOKS}")
    [published] = spans.wait_for(f"publish {CHANNEL}")
    [attempt] = spans.wait_for("POST")
    runs = spans.wait_for("send", 2)
    assert (webhook.service, webhook.parent) == ("outbox-service", given)
    assert (published.service, published.parent) == ("outbox-service", webhook.context)
    assert (attempt.service, attempt.parent) == ("outbox-relay", given)
    assert [(run.service, run.parent, run.links) for run in runs] == [
        ("outbox-relay", None, [given])
    ] * 2
    assert sorted(run.attributes["outbox.subscriptions"] for run in runs) == [
        ["billing"],
        ["kafka"],
    ]


def test_a_collector_that_hangs_holds_up_no_stop(
    service: tuple[Program, str],
    relay: Program,
    database_url: str,
    endpoint: Receiver,
    spans: SpanReceiver,
) -> None:
    spans.hang()
    pay(service[1], database_url)
    endpoint.wait(1, 30)
    began_at = time.monotonic()
    for process in (relay, service[0]):
        os.kill(process.pid, signal.SIGTERM)
    assert [process.wait(10) for process in (relay, service[0])] == [0, 0]
    assert time.monotonic() - began_at < 10
