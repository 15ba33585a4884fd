"""All that this product does goes through a pooler with two connections, and leaves nothing there.

Under the worst settings that a database can bring.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from local.pgbouncer import PgBouncer
from service.app import create_app
from service.settings import Settings
from tests.conftest import Spawn
from tests.pooled import pooled
from tests.receiver import Receiver
from tests.relay.operating import outbox_relay, relay_role
from tests.relay.stage import ExactlyOnceStage
from tests.service.conftest import JSON
from tests.service.payments.live_socket import WS
from tests.service.shop import Shop, event
from tests.shadows import SETTINGS

pytestmark = pytest.mark.long

CONNECTIONS = 2
# What a session can leave behind, and every setting that it would work by.
LEFT = """
    select 'prepared', name from pg_prepared_statements
    union all select 'listens', channel from pg_listening_channels() as channel
    union all select 'cursor', name from pg_cursors
    union all select 'lock', locktype from pg_locks
    where pid = pg_backend_pid() and locktype = 'advisory'
    union all select 'temporary', relname from pg_class where relnamespace = pg_my_temp_schema()
    union all select name, setting from pg_settings where name not like 'plpgsql.%'
"""


@pytest.fixture
def login_url(database_url: str) -> Iterator[str]:
    """For a login of service and relay, on a database that brings the worst settings.

    To the superuser, who watches, it brings what was there before.
    """
    with psycopg.connect(database_url, autocommit=True) as owner, relay_role(owner) as url:
        database = sql.Identifier(owner.info.dbname)
        owner.execute(
            sql.SQL("grant outbox_service to {}").format(
                sql.Identifier(url.split("//")[1].split("@")[0])
            )
        )
        for name, value in SETTINGS.items():
            usual = owner.execute("select current_setting(%s)", [name]).fetchone() or ("",)
            for role, brought in [("", value), ("role postgres in ", usual[0])]:
                statement = sql.SQL("alter " + role + "database {} set {} = {}")
                owner.execute(
                    statement.format(database, sql.Identifier(name), sql.Literal(brought))
                )
        yield url


@pytest.fixture
def pooler(login_url: str) -> Iterator[PgBouncer]:
    with pooled(login_url, {"default_pool_size": str(CONNECTIONS)}) as pooler:
        yield pooler


@pytest.fixture
def stage(
    database_url: str, login_url: str, kafka: str, topic_prefix: str, spawn: Spawn
) -> ExactlyOnceStage:
    return ExactlyOnceStage(database_url, kafka, topic_prefix, spawn)


@pytest.fixture
def shop(stage: ExactlyOnceStage, login_url: str, pooler: PgBouncer) -> Iterator[Shop]:
    """Its service is behind the pooler."""
    app = create_app(Settings(database_url=pooler.url(login_url), pool_size=8))
    with (
        TestClient(app, raise_server_exceptions=False, headers=JSON) as client,
        stage.database() as database,
    ):
        yield Shop(client, database)


def found(urls: list[str]) -> dict[int, set[Any]]:
    """What sessions that are open at once find, by the server's process."""
    with ExitStack() as stack:
        sessions = [
            stack.enter_context(psycopg.connect(url, application_name="neighbour")) for url in urls
        ]
        return {
            session.execute("select pg_backend_pid()").fetchall()[0][0]: set(session.execute(LEFT))
            for session in sessions
        }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_a_payment_reaches_everybody_and_the_next_client_finds_a_fresh_session(
    stage: ExactlyOnceStage, shop: Shop, login_url: str, pooler: PgBouncer, delivery: str
) -> None:
    stage.execute("update outbox.subscription set delivery = %s", delivery)
    for channel in ("payment.success", "orders.lifecycle"):
        stage.create_topic(channel)
    environment = stage.environment(
        DATABASE_URL=pooler.url(login_url), RELAY_ALLOW_NETWORKS="127.0.0.1/32"
    )
    with Receiver() as receiver:
        stage.execute(
            "select outbox.subscribe('billing', 'payment.success', %s)", f"{receiver.url}/billing"
        )
        relay = stage.relay(**environment)
        for _ in range(10):
            order = shop.processing_order()
            with shop.http.websocket_connect(f"{WS}?orderId={order['id']}") as socket:  # type: ignore[attr-defined]
                shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10.00"))
                assert socket.receive_json()["status"] == "COMPLETED"
        stage.all_arrived_once("payment.success", "orders.lifecycle", timeout_seconds=60)
        receiver.wait(10, timeout_seconds=60)
        for command in ("status", "doctor", "subscriptions"):
            ran = outbox_relay(command, environment=environment)
            assert ran.returncode == 0, (command, ran.stdout, ran.stderr)
        assert relay.stop() == 0
    (fresh,) = found([login_url]).values()
    pooled = found([pooler.url(login_url)] * CONNECTIONS)
    assert [session ^ fresh for session in pooled.values()] == [set()] * CONNECTIONS
