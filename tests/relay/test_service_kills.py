"""kill -9 of the service and of both relays while customers pay: from webhook to topic, once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from random import Random

import httpx2
import pytest

from local.program import Program
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.log_reader import read_log
from tests.relay.stage import Stage
from tests.service.shop import ORDERS, WEBHOOKS, Json, event

pytest_plugins = ["tests.relay.stages"]

CUSTOMERS = 4
KILLS = 12
CHANNELS = ("orders.lifecycle", "payment.success")


class Customer:
    """Orders and pays, and says everything again until it is answered, as a provider does."""

    def __init__(self, url: str, stop: threading.Event) -> None:
        self.paid: list[str] = []
        self._http = httpx2.Client(base_url=url, timeout=5)
        self._stop = stop

    def live(self) -> None:
        with self._http:
            while not self._stop.is_set():
                self._buy()

    def _buy(self) -> None:
        fields = {
            "number": "N",
            "merchantId": "5a0e3a0c-6d7e-4a3e-9f0e-0d6f4c1d2b11",
            "saleChannelId": "0f8c1f1e-7b52-4a3b-8f7b-6f9f1b0b7a22",
            "currency": "EUR",
            "total": "10.00",
            "createdBy": "cashier",
            "items": [{"itemType": "GOODS", "itemId": "tea", "quantity": 1, "mode": "PRODUCT"}],
        }
        order_id = str(self._insist(ORDERS, fields).json()["id"])
        self._insist(f"{ORDERS}/{order_id}/payments", None)
        payment = event("ATTEMPT_SUCCESS", order=order_id, paid="10.00")
        for _ in range(2):  # Providers repeat themselves.
            assert self._insist(WEBHOOKS, payment).json() == {"acknowledged": True}
        self.paid.append(order_id)

    def _insist(self, path: str, body: Json | None) -> httpx2.Response:
        """Posts until the service answers; the answer to a repeated step may be a conflict."""
        while True:
            try:
                answer = self._http.post(path, json=body)
            except httpx2.TransportError:
                self._stop.wait(0.05)
                continue
            if answer.status_code != 503:
                assert answer.status_code in (200, 201, 409), answer.text
                return answer
            self._stop.wait(0.05)


@contextmanager
def customers(url: str) -> Iterator[Callable[[], list[str]]]:
    """Customers at work; each ends with an order that is paid.

    Gives a function: the orders that are paid by now; RuntimeError where a customer has died, so
    that a wait for more of them ends there and with the cause.
    """
    stop = threading.Event()
    shoppers = [Customer(url, stop) for _ in range(CUSTOMERS)]
    with ThreadPoolExecutor(CUSTOMERS) as threads:
        lives = [threads.submit(shopper.live) for shopper in shoppers]

        def paid() -> list[str]:
            for life in lives:
                if life.done() and (error := life.exception()) is not None:
                    raise RuntimeError("a customer has died") from error
            return [order_id for shopper in shoppers for order_id in shopper.paid]

        try:
            yield paid
        finally:
            stop.set()
    for life in lives:
        life.result()


@pytest.mark.timeout(300)
def test_what_was_acknowledged_to_the_provider_is_in_kafka_whoever_is_killed(
    stage: Stage, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    random = Random(17)
    for channel in CHANNELS:
        stage.create_topic(channel)
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {"DATABASE_URL": stage.database_url, "SERVICE_PORT": str(port)}
    service = spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    processes: list[Program] = [service, stage.relay(), stage.relay()]
    with customers(url) as paid:
        for kill in range(KILLS):
            before = len(paid())

            def bought(before: int = before) -> None:
                assert len(paid()) >= before + 3

            eventually(bought, 60)
            # The service every third time, a relay otherwise.
            victim = service if kill % 3 == 0 else random.choice(processes[1:])
            victim.kill()
            victim.launch()
    stage.all_arrived(*CHANNELS)
    successes = Counter(
        (message.group_key or b"").decode()
        for message in read_log(stage.database_url, "payment.success")
    )
    acknowledged = paid()
    assert len(acknowledged) >= 3 * KILLS
    assert {order_id: successes[order_id] for order_id in acknowledged} == dict.fromkeys(
        acknowledged, 1
    )
