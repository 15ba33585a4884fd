"""While one batch is taken in the next is read, and what it holds enters once all the same."""

import gc
import threading
import weakref

import psycopg
import pytest

from relay.database import Connection, connect
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources.intake import session
from relay.sources.kafka import reader
from relay.sources.kafka.batch import Batch
from relay.sources.kafka.insertion import Insertion
from relay.sources.kafka.intake import TopicIntake
from relay.sources.source import Source, active
from tests.relay.sources.inward_stage import InwardStage, in_order, keyed

pytest_plugins = ["tests.relay.sources.inward_fixtures"]

RECORDS, TAKEN_BY_ANOTHER = 1000, 25


def _settings(inward: InwardStage) -> Settings:
    return Settings.from_environment(inward.environment())


def _intake(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch, *, partitions: int
) -> TopicIntake:
    """Of a topic that has RECORDS, in batches of 50."""
    monkeypatch.setattr(reader, "MAX_BATCH_RECORDS", 50)
    topic = inward.topic("orders", partitions=partitions)
    inward.produce(topic, keyed(RECORDS, 20))
    inward.take_in(topic)
    settings = _settings(inward)
    with connect(settings) as connection:
        [source] = active(connection)
    return TopicIntake(source, settings, Telemetry())


def test_what_another_relay_takes_meanwhile_is_left_out_of_both_batches(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = _intake(inward, monkeypatch, partitions=1)
    insertions = 0
    reads = threading.Event()
    insert, of_batch = TopicIntake._insert, Batch.read

    def read(batch: Batch, records: object) -> None:
        reads.set()
        of_batch(batch, records)  # type: ignore[arg-type]

    def insert_beside(
        own: TopicIntake, connection: Connection, batch: Batch, topic_id: str
    ) -> None:
        nonlocal insertions
        insertions += 1
        if insertions == 3:
            reads.clear()
            assert reads.wait(20), "the next batch is not read meanwhile"
            inward.execute(
                "update outbox.source_position set next_offset = next_offset + %s",
                TAKEN_BY_ANOTHER,
            )
        insert(own, connection, batch, topic_id)

    monkeypatch.setattr(Batch, "read", read)
    monkeypatch.setattr(TopicIntake, "_insert", insert_beside)
    with connect(_settings(inward)) as connection:
        session(intake, connection, lambda: intake.entered < RECORDS - TAKEN_BY_ANOTHER)
    entered = inward.entered()
    assert len(entered) == RECORDS - TAKEN_BY_ANOTHER
    in_order(entered)


def test_after_a_session_lost_meanwhile_both_batches_are_read_again(
    inward: InwardStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = _intake(inward, monkeypatch, partitions=2)
    insertions = 0
    waits = threading.Event()
    insert, end = TopicIntake._insert, Insertion.end

    def lose_the_third(
        own: TopicIntake, connection: Connection, batch: Batch, topic_id: str
    ) -> None:
        nonlocal insertions
        insertions += 1
        if insertions == 3:
            assert waits.wait(20), "nothing waits for it"
            inward.execute("select pg_terminate_backend(%s)", connection.info.backend_pid)
        insert(own, connection, batch, topic_id)

    def wait_for(insertion: Insertion) -> None:
        if insertions == 3:
            waits.set()
        end(insertion)

    monkeypatch.setattr(TopicIntake, "_insert", lose_the_third)
    monkeypatch.setattr(Insertion, "end", wait_for)
    with connect(_settings(inward)) as connection, pytest.raises(psycopg.OperationalError):
        session(intake, connection, lambda: True)
    assert intake.entered == len(inward.entered())
    with connect(_settings(inward)) as connection:
        session(intake, connection, lambda: intake.entered < RECORDS)
    entered = inward.entered()
    assert len(entered) == RECORDS
    in_order(entered)


def test_one_that_fails_is_in_no_circle_with_what_waits_for_it() -> None:
    """A reader in one would keep its client's threads and sockets, a batch its payloads."""

    def insert() -> None:
        raise ConnectionError("gone")

    def end() -> "weakref.ref[Batch]":
        batch = Batch(Source(1, "in", "kafka", "shop", 3, "t", "earliest", "", "{}"), "own", {})
        insertion = Insertion(batch, insert)
        insertion.begin()
        with pytest.raises(ConnectionError, match="gone"):
            insertion.end()
        return weakref.ref(batch)

    gc.disable()
    try:
        assert end()() is None
    finally:
        gc.enable()
