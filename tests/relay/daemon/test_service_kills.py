"""kill -9 of the service and of both relays while customers pay: from webhook to topic, once."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from local.program import Program
from tests.conftest import Spawn
from tests.customers import customers
from tests.eventually import eventually
from tests.log_reader import read_log
from tests.relay.stage import Stage

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

CUSTOMERS = 4
KILLS = 12
CHANNELS = ("orders.lifecycle", "payment.success")


@contextmanager
def buying(url: str) -> Iterator[Callable[[], list[str]]]:
    """Customers at work.

    Gives a function: the orders that are paid by now; RuntimeError where a customer has died, so
    that a wait for more of them ends there and with the cause.
    """
    stop = threading.Event()
    shoppers = customers(url, stop, CUSTOMERS)

    def paid() -> list[str]:
        for shopper in shoppers:
            if shopper.fault is not None:
                raise RuntimeError("a customer has died") from shopper.fault
        return [order_id for shopper in shoppers for order_id in shopper.paid]

    for shopper in shoppers:
        shopper.start()
    try:
        yield paid
    finally:
        stop.set()
        for shopper in shoppers:
            shopper.join(30)
    paid()


@pytest.mark.timeout(300)
def test_what_was_acknowledged_to_the_provider_is_in_kafka_whichever_process_is_killed(
    stage: Stage, spawn: Spawn, free_port: Callable[[], int]
) -> None:
    random = Random(17)
    for channel in CHANNELS:
        stage.create_topic(channel)
    url = f"http://127.0.0.1:{(port := free_port())}"
    environment = {"DATABASE_URL": stage.database_url, "SERVICE_PORT": str(port)}
    service = spawn("outbox-service", environment=environment, ready_url=f"{url}/readyz")
    processes: list[Program] = [service, stage.relay(), stage.relay()]
    with buying(url) as paid:
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
