"""A session of a source that stands in a call which does not return: another takes its place."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import pytest

from relay.daemon import sources as daemon_sources
from relay.daemon.sources import MAX_ABANDONED, Sources
from relay.database import Connection, connect
from relay.log.path import OwnPath
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources.intake import Intake
from relay.sources.source import Source
from tests.eventually import eventually
from tests.relay.operating import settings
from tests.sql.log import Session

MAKE = "select outbox.connect_in('shop', 'shop', 'kafka', '{\"topic\": \"orders\"}')"


class Nothing:
    def close(self) -> None:
        """There is nothing to close."""


class Standing(Intake[Nothing]):
    """Its first turn is a call that returns only in the end."""

    begun = 0
    over = threading.Event()

    def open(self) -> Nothing:
        type(self).begun += 1
        return Nothing()

    def run(self, connection: Connection, reading: Nothing) -> None:
        self.over.wait()
        time.sleep(0.01)


def standing(source: Source, own: Settings, telemetry: Telemetry) -> Standing:
    return Standing(source, own, telemetry)


@pytest.fixture
def connection(
    database_url: str, db: Session, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Connection]:
    db.execute(MAKE)
    monkeypatch.setattr(daemon_sources, "intake_of", standing)
    monkeypatch.setattr(daemon_sources, "STUCK_SECONDS", 0.3)
    Standing.begun = 0
    Standing.over.clear()
    with connect(settings(database_url)) as made:
        yield made
    Standing.over.set()


def test_another_takes_its_place_a_few_times_and_then_the_source_waits(
    database_url: str, connection: Connection
) -> None:
    telemetry = Telemetry()
    sources = Sources(settings(database_url), telemetry, OwnPath())

    def given_up(number: int) -> None:
        sources.update(connection, 1)
        assert telemetry.abandoned_sources == number

    for number in range(1, MAX_ABANDONED + 1):
        eventually(partial(given_up, number), 10)
    assert Standing.begun == MAX_ABANDONED
    sources.update(connection, 1)
    assert Standing.begun == MAX_ABANDONED
    # The calls return after all.
    Standing.over.set()

    def goes_on() -> None:
        sources.update(connection, 1)
        assert telemetry.abandoned_sources == 0
        assert Standing.begun == MAX_ABANDONED + 1

    eventually(goes_on, 10)
    sources.stop()
    sources.join(time.monotonic() + 5)
