"""Promises of the webhooks' reckoning: whatever is off, it says so."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.comparison import Published
from demo.places import Places
from demo.pushed import Pushed, reckon_pushed
from demo.queue import Queue
from demo.subscribers.records import Outcome, Record
from demo.subscriptions import SUBSCRIBERS
from tests.conftest import PostgresServer
from tests.demo.pushes import push

PUBLISH = """
    select outbox.publish('orders.lifecycle', 'order.' || type, '{}', group_key => 'order')
    from unnest(array['created', 'paid']) as type
"""
LOG = """
    select id, channel, group_key, idempotency_key from outbox.message
    where channel = 'orders.lifecycle' order by id
"""


class Webhooks:
    """Two messages of one order, as four subscribers got them."""

    def __init__(self, sale: Any, places: Places) -> None:
        self.sale = sale
        self.places = places
        sale.execute(PUBLISH)
        push(sale, places)

    def reckon(self) -> Pushed:
        return reckon_pushed(
            self.places, self.sale, [Published(*row) for row in self.sale.execute(LOG)]
        )

    def wrong(self) -> list[str]:
        """What the reckoning finds off."""
        found = self.reckon()
        names = [each.name for each in found.deliveries if not each.right]
        return names + [each.what for each in found.promises if not each.right]

    def write_down(self, subscriber: str, key: str, outcome: Outcome) -> None:
        """Another request to a subscriber."""
        with closing(Record(self.places.records[subscriber])) as record:
            assert record.write(key, "order", "order.paid", outcome)

    def rewrite(self, subscriber: str, statement: str) -> None:
        """Changes what a subscriber wrote down."""
        path = self.places.records[subscriber]
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(statement)


@pytest.fixture(scope="module")
def sale(postgres_server: PostgresServer) -> Iterator[Any]:
    """One database for all: whatever a test plants in it is rolled back."""
    with postgres_server.clone() as url, psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def webhooks(sale: Any, tmp_path: Path) -> Iterator[Webhooks]:
    files = {name: tmp_path / f"{name}.sqlite" for name in SUBSCRIBERS}
    with sale.transaction(force_rollback=True):
        yield Webhooks(sale, Places("", {}, "", "", files, "", Queue("", dict)))


def test_nothing_is_off_when_all_webhooks_came_as_they_must(webhooks: Webhooks) -> None:
    assert webhooks.wrong() == []
    found = webhooks.reckon()
    assert found.probes == 2
    assert [outage.seconds for outage in found.outages] == [10]
    assert found.medians == pytest.approx(
        {"fulfilment": 0.26, "analytics": 0.27, "notifications": 0.28}, abs=0.001
    )


def test_a_webhook_that_a_subscriber_never_got_is_off(webhooks: Webhooks) -> None:
    webhooks.rewrite("analytics", "delete from request where number = 2")
    assert webhooks.wrong() == ["analytics"]


def test_webhooks_of_an_order_that_changed_places_are_off(webhooks: Webhooks) -> None:
    webhooks.rewrite("billing", "update request set number = 3 where number = 1")
    assert webhooks.wrong() == ["billing"]


def test_a_webhook_of_a_message_that_was_never_committed_is_off(webhooks: Webhooks) -> None:
    webhooks.write_down("fulfilment", "uncommitted", "accepted")
    assert webhooks.wrong() == ["fulfilment"]


def test_a_repeated_webhook_is_counted_and_no_fault(webhooks: Webhooks) -> None:
    webhooks.rewrite(
        "fulfilment",
        "insert into request (idempotency_key, order_id, type, outcome) "
        "select idempotency_key, order_id, type, 'repeated' from request where number = 1",
    )
    assert webhooks.wrong() == []
    assert webhooks.reckon().deliveries[0].repeated == 1


def test_a_webhook_with_a_bad_signature_is_off(webhooks: Webhooks) -> None:
    webhooks.write_down("fulfilment", "key", "forged")
    assert webhooks.wrong() == ["webhooks with a bad signature"]


@pytest.mark.parametrize(
    ("plant", "found"),
    [
        (
            "update outbox.attempt_log set at = at + interval '1 second' where number = 2 "
            "and status = 500",
            ["  requests beyond one per 1.5 s meanwhile"],
        ),
        (
            "update outbox.attempt_log set at = at + interval '20 seconds' where subscription_id = "
            "(select id from outbox.subscription where name = 'analytics')",
            ["  subscribers served meanwhile"],
        ),
        (
            "delete from outbox.message where type = 'subscription.breaker_closed'",
            ["billing's breaker: opened, and closed"],
        ),
        (
            "update outbox.dead_letter set delivered_at = null",
            ["dead letters of notifications, redriven and delivered", "other dead letters"],
        ),
    ],
    ids=["a hasty probe", "one that waited", "still open", "a dead letter left"],
)
def test_what_must_not_be_around_an_outage_is_off(
    webhooks: Webhooks, plant: str, found: list[str]
) -> None:
    webhooks.sale.execute(plant)
    assert webhooks.wrong() == found


def test_a_breaker_that_never_opened_is_off(webhooks: Webhooks) -> None:
    webhooks.sale.execute("delete from outbox.message where channel = 'outbox.events'")
    assert webhooks.wrong() == [
        "billing's breaker: opened, and closed",
        "  subscribers served meanwhile",
    ]
