"""What is deleted from a queue is on the database's disk, whatever the database has set."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from relay.database import connect
from relay.monitoring.telemetry import Telemetry
from relay.sources import source
from relay.sources.sqs.intake import QueueIntake
from relay.sources.sqs.message import received
from relay.sources.sqs.queue import Received
from tests.relay.operating import settings

WATCH = """
    create table committed (synchronous text);
    create function watch() returns trigger language plpgsql security definer as $$
    begin
        insert into public.committed values (current_setting('synchronous_commit'));
        return new;
    end $$;
    create trigger watch after insert on outbox.source_receipt
        for each row execute function watch();
"""
QUEUE = {"queue_url": "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"}


class Queue:
    """One message, received again for as long as it is not deleted."""

    def __init__(self) -> None:
        record = received({"MessageId": "id-1", "Body": "v"}, "orders")
        self.messages = [Received(record, "handle", 0)]

    def receive(self) -> list[Received]:
        return self.messages

    def held(self, _: Sequence[Received]) -> AbstractContextManager[None]:
        return nullcontext()

    def delete(self, _: Sequence[Received]) -> None:
        self.messages = []

    def waiting(self) -> int:
        return len(self.messages)


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("setting", "kept"), [("off", "local"), ("remote_write", "remote_write")])
def test_nothing_is_deleted_before_it_is_on_disk(
    database_url: str, owner: psycopg.Connection[Any], setting: str, kept: str
) -> None:
    change = sql.SQL("alter database {} set synchronous_commit = {}")
    owner.execute(change.format(sql.Identifier(owner.info.dbname), sql.Literal(setting)))
    owner.execute(WATCH)
    owner.execute("select outbox.connect_in('shop', 'shop', 'sqs', %s)", [Jsonb(QUEUE)])
    given = settings(database_url)
    queue: Any = Queue()
    with connect(given) as connection:
        [taken_in] = source.active(connection)
        intake = QueueIntake(taken_in, given, Telemetry())
        intake.run(connection, queue)
    assert queue.messages == []
    assert owner.execute("select synchronous from committed").fetchall() == [(kept,)]
    assert owner.execute(
        "select convert_from(payload, 'UTF8') from outbox.message where channel = 'shop'"
    ).fetchall() == [("v",)]
