"""Row-level security that would hide rows from the relay or the service stops them, loudly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.eventually import eventually
from tests.relay.operating import outbox_relay, relay_role
from tests.relay.stage import Stage
from tests.service.shop import Shop, event

pytest_plugins = ["tests.relay.stage_fixtures"]

# A role that may see only some rows, such as those of one tenant.
POLICY = "create policy some_rows on outbox.message using (group_key = 'g1')"


def test_what_a_policy_hides_from_a_relay_waits_for_it(stage: Stage) -> None:
    stage.create_topic("orders")
    with stage.database() as owner, relay_role(owner) as url:
        relay = stage.relay(DATABASE_URL=url)
        stage.publish(10, "orders")
        stage.all_arrived("orders")
        stage.execute(POLICY)
        stage.execute("alter table outbox.message enable row level security")
        stage.publish(20, "orders")

        def told() -> None:
            assert 'row-level security policy for table \\"message' in relay.output()

        eventually(told)
        assert len(stage.arrivals("orders")) == 10
        stage.execute("alter table outbox.message disable row level security")
        stage.all_arrived("orders")
        relay.stop()


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_table_that_a_policy_hides_is_not_taken_for_an_empty_one(
    stage: Stage, command: str
) -> None:
    with stage.database() as owner, relay_role(owner) as url:
        owner.execute("alter table outbox.migration enable row level security")
        ran = outbox_relay(command, environment=stage.environment(DATABASE_URL=url))
    told = ran.stdout + ran.stderr
    assert ran.returncode == 1
    assert "disable row level security" in told
    assert "drop schema" not in told


def test_a_payment_for_an_order_that_a_policy_hides_is_not_acknowledged(
    database_url: str, database: psycopg.Connection[Any]
) -> None:
    with service(database_url, database) as shop:
        order = shop.processing_order()
        database.execute("alter table sale.sale_order enable row level security")
        paid = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
        assert shop.send(paid).status_code >= 500
        database.execute("alter table sale.sale_order disable row level security")
        shop.deliver(paid)
        assert shop.read(order["id"])["status"] == "COMPLETED"


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The owner's session, in autocommit."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@contextmanager
def service(database_url: str, database: psycopg.Connection[Any]) -> Iterator[Shop]:
    """The service, as a login that is no owner's."""
    with relay_role(database, "outbox_service") as url:
        app = create_app(Settings(database_url=url, pool_size=2))
        headers = {"Content-Type": "application/json"}
        with TestClient(app, raise_server_exceptions=False, headers=headers) as http:
            yield Shop(http, database)
