"""The gauges' end, while another thread is at reading them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from demo.consumers import inventory
from demo.gauges import Instruments
from demo.places import CHANNELS, Places
from demo.queue import Queue
from demo.saga import gauges as saga
from demo.saga.places import SERVICES
from demo.saga.places import Places as SagaPlaces
from demo.subscribers import records
from demo.subscriptions import SUBSCRIBERS
from tests.conftest import CreateTopic

WAIT_SECONDS = 20
ENOUGH_SECONDS = 0.3


def end_while_reading(
    read: Callable[[], Any], end: Callable[[], None], reading: threading.Event, go: threading.Event
) -> None:
    """`read` sets `reading` in its midst and waits for `go` there. Raises what either raises."""
    with ThreadPoolExecutor(2) as pool:
        result = pool.submit(read)
        try:
            assert reading.wait(WAIT_SECONDS)
            ended = pool.submit(end)
            closed = threading.Event()
            ended.add_done_callback(lambda _: closed.set())
            assert not closed.wait(ENOUGH_SECONDS)
        finally:
            go.set()
        assert result.result(WAIT_SECONDS) is not None
        ended.result(WAIT_SECONDS)


def test_the_demos_gauges_are_not_closed_while_they_are_read(
    database_url: str,
    inventory_url: str,
    finance_url: str,
    kafka: str,
    topic_prefix: str,
    create_topic: CreateTopic,
    tmp_path: Path,
) -> None:
    """librdkafka ends the whole process by a segmentation fault where its reader is closed so."""
    reading, go = threading.Event(), threading.Event()

    def ask(*_: object, **__: object) -> dict[str, Any]:
        reading.set()
        assert go.wait(WAIT_SECONDS)
        return {"Attributes": {"ApproximateNumberOfMessages": "0"}}

    for channel in (*CHANNELS, "stock"):
        create_topic(channel, partitions=1)
    files = {name: tmp_path / f"{name}.sqlite" for name in SUBSCRIBERS}
    for file in files.values():
        records.make(file)
    books = {inventory.NAME: inventory_url, "finance": finance_url}
    queue = Queue("", ask)
    places = Places(database_url, books, kafka, topic_prefix, files, kafka, queue)
    instruments = Instruments(places)
    end_while_reading(instruments.read, instruments.__exit__, reading, go)


def test_the_sagas_gauges_are_not_closed_while_they_are_read(database_url: str) -> None:
    reading, go = threading.Event(), threading.Event()
    databases = dict.fromkeys(SERVICES, database_url)
    instruments = saga.Instruments(SagaPlaces(databases, "", "", Path()))

    def look() -> bool:
        reading.set()
        return go.wait(WAIT_SECONDS)

    instruments._read = look  # type: ignore[assignment,method-assign]
    end_while_reading(instruments.read, instruments.__exit__, reading, go)
