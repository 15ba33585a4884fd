"""The database goes away and comes back."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, LiteralString

import msgspec
import psycopg
import pytest
from starlette.testclient import TestClient

from local.postgres import Postgres
from service.app import create_app
from service.database.pool import Database
from service.database.transaction import Transaction
from service.problems import Problem
from service.settings import Settings
from tests.eventually import eventually
from tests.servers import TEMPLATE, make_template
from tests.service.shop import WEBHOOKS, Shop, event

pytestmark = pytest.mark.long

TIMEOUT_SECONDS = 1.0
# What asyncio, psycopg's cancellation and a busy machine may add to the timeout.
SLACK_SECONDS = 6.0


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A Postgres of this module's own, to be killed."""
    directory: Path = tmp_path_factory.mktemp("postgres")
    with Postgres.start(directory / "data", settings={"fsync": "off"}) as started:
        make_template(started)
        yield started


@pytest.fixture
def shop(postgres: Postgres) -> Iterator[Shop]:
    """The service on that Postgres; `database` is a connection that a kill breaks as well."""
    url = postgres.dsn(TEMPLATE)
    settings = Settings(database_url=url, pool_size=3, database_timeout_seconds=TIMEOUT_SECONDS)
    with (
        TestClient(create_app(settings), raise_server_exceptions=False) as client,
        psycopg.connect(url, autocommit=True) as database,
    ):
        yield Shop(client, database)


def test_what_is_beyond_a_limit_of_the_servers_is_no_outage(postgres: Postgres) -> None:
    """Sent again it would meet the same limit: 503 would keep its sender busy for ever."""

    async def exceed(transaction: Transaction) -> None:
        await transaction.execute(
            "do $$ begin raise exception 'too large' using errcode = '54000'; end $$", {}
        )

    async def run() -> None:
        database = Database(Settings(database_url=postgres.dsn(TEMPLATE), pool_size=1))
        async with database.pool:
            await database.run(exceed)

    with pytest.raises(psycopg.errors.ProgramLimitExceeded):
        asyncio.run(run())


LOCK_TIMEOUT: LiteralString = "do $$ begin raise exception 'x' using errcode = '55P03'; end $$"
STATEMENT_TIMEOUT: LiteralString = "do $$ begin raise exception 'x' using errcode = '57014'; end $$"


@pytest.mark.parametrize("ended", [LOCK_TIMEOUT, STATEMENT_TIMEOUT], ids=["lock", "statement"])
def test_what_takes_too_long_is_503_but_is_not_told_as_an_outage(
    postgres: Postgres, ended: LiteralString
) -> None:
    """And the server says so before the request's own time is over, which could be anything."""

    async def run() -> list[Bounds]:
        database = Database(Settings(database_url=postgres.dsn(TEMPLATE), pool_size=1))

        async def bounds(transaction: Transaction) -> list[Bounds]:
            return await transaction.all(Bounds, Bounds.SELECT, {})

        async with database.pool:
            with pytest.raises(Problem) as refused:
                await database.run(lambda transaction: transaction.execute(ended, {}))
            assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
            assert "longer than 5 s" in refused.value.detail
            return await database.run(bounds, timeout_seconds=5.0)

    [bounds] = asyncio.run(run())
    assert bounds.lock_seconds < 5 > bounds.statement_seconds


class Bounds(msgspec.Struct, frozen=True):
    """The server's own, within a transaction of 5 s."""

    SELECT: ClassVar[LiteralString] = """
        select extract(epoch from current_setting('lock_timeout')::interval)::float8
                   as lock_seconds,
               extract(epoch from current_setting('statement_timeout')::interval)::float8
                   as statement_seconds
    """

    lock_seconds: float
    statement_seconds: float


def assert_unavailable(shop: Shop) -> None:
    """Every kind of request: 503 with Retry-After, soon; alive, but not ready."""
    started = time.monotonic()
    answer = shop.send(event("ATTEMPT_SUCCESS", order="0" * 8 + "-0000-4000-8000-" + "0" * 12,
                             amount="1"))  # fmt: skip
    assert time.monotonic() - started < TIMEOUT_SECONDS + SLACK_SECONDS
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["content-type"] == "application/problem+json"
    assert shop.http.get("/readyz").status_code == 503
    assert shop.http.get("/healthz").status_code == 200


def kill(postgres: Postgres, database: psycopg.Connection[Any]) -> None:
    """Kills the server, and waits for its sessions, which end a moment after it."""
    sessions = database.execute(
        "select pid from pg_stat_activity where backend_type = 'client backend'"
    ).fetchall()
    postgres.kill()

    def have_ended() -> None:
        assert not any(is_running(pid) for (pid,) in sessions)

    eventually(have_ended)


def is_running(pid: int) -> bool:
    """Whether there is such a process, but for one that has ended and is not waited for."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_a_database_that_is_gone_is_503_and_recovery_needs_no_restart(
    postgres: Postgres, shop: Shop
) -> None:
    order = shop.processing_order()
    kill(postgres, shop.database)
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
    for _ in range(4):
        assert_unavailable(shop)
    key = {"Authorization": f"Bearer ok_{'A' * 43}"}
    assert shop.http.get("/v1/subscriptions", headers=key).status_code == 503
    postgres.restart()

    def recovered() -> None:
        assert shop.http.post(WEBHOOKS, json=sent).status_code == 200

    eventually(recovered, timeout_seconds=15)
    assert shop.read(order["id"])["status"] == "COMPLETED"


def test_a_database_that_is_frozen_is_503_within_the_timeout(
    postgres: Postgres, shop: Shop
) -> None:
    shop.order()
    sessions = shop.database.execute(
        "select pid from pg_stat_activity where application_name = 'outbox-service'"
    ).fetchall()
    frozen = [postgres.pid, *(pid for (pid,) in sessions)]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert_unavailable(shop)
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)

    def recovered() -> None:
        assert shop.http.get("/readyz").status_code == 200

    eventually(recovered, timeout_seconds=15)


def test_a_row_that_stays_locked_is_503_within_the_timeout(postgres: Postgres, shop: Shop) -> None:
    order = shop.processing_order()
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
    with psycopg.connect(postgres.dsn(TEMPLATE)) as holder:
        holder.execute("select from sale.sale_order where id = %s for update", [order["id"]])
        started = time.monotonic()
        assert shop.send(sent).status_code == 503
        assert time.monotonic() - started < TIMEOUT_SECONDS + SLACK_SECONDS
        holder.rollback()
    shop.deliver(sent)
    assert shop.read(order["id"])["status"] == "COMPLETED"


def test_sessions_that_an_administrator_ends_are_503_and_replaced(
    postgres: Postgres, shop: Shop
) -> None:
    order = shop.processing_order()
    shop.database.execute(
        """
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'outbox-service'
        """
    )
    sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")

    def recovered() -> None:
        answer = shop.send(sent)
        assert answer.status_code in (200, 503)
        assert answer.status_code == 200

    eventually(recovered)
    assert len(shop.messages("payment.success")) >= 1


class AnswerThief:
    """A TCP proxy that passes a COMMIT on to the server, and cuts the wire before its answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.armed = threading.Event()
        self.stolen = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no further connection."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            for pump in (self._to_server, self._to_client):
                threading.Thread(target=pump, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := client.recv(65_536):
                # With its end: BEGIN says READ COMMITTED.
                if b"COMMIT\0" in data and self.armed.is_set():
                    self.armed.clear()
                    self.stolen += 1
                    # No answer leaves any more; the server itself gets the COMMIT and obeys.
                    client.shutdown(socket.SHUT_WR)
                server.sendall(data)
        except OSError:
            pass
        finally:
            # Not closed here: a reset could overtake what the server has yet to read.
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)

    def _to_client(self, client: socket.socket, server: socket.socket) -> None:
        try:
            while data := server.recv(65_536):
                client.sendall(data)
        except OSError:
            pass
        finally:
            client.close()
            server.close()


def test_a_commit_whose_answer_is_lost_is_503_and_has_one_effect_when_sent_again(
    postgres: Postgres,
) -> None:
    thief = AnswerThief(postgres.port)
    url = f"postgresql://postgres@127.0.0.1:{thief.port}/{TEMPLATE}"
    settings = Settings(database_url=url, pool_size=1, database_timeout_seconds=TIMEOUT_SECONDS)
    with (
        TestClient(create_app(settings), raise_server_exceptions=False) as client,
        psycopg.connect(postgres.dsn(TEMPLATE), autocommit=True) as database,
    ):
        shop = Shop(client, database)
        order = shop.processing_order(customerId="ann")
        sent = event("ATTEMPT_SUCCESS", order=order["id"], paid="10")
        thief.armed.set()
        assert shop.send(sent).status_code == 503
        assert thief.stolen == 1

        def committed() -> None:
            status = database.execute(
                "select status from sale.sale_order where id = %s", [order["id"]]
            ).fetchone()
            assert status == ("COMPLETED",)

        eventually(committed)

        def acknowledged() -> None:
            assert shop.send(sent).status_code == 200

        eventually(acknowledged)
        successes = [m for m in shop.messages("payment.success") if m.group_key == order["id"]]
        assert len(successes) == 1
        assert shop.read(order["id"])["points"] == 10
    thief.close()


def test_a_database_without_schema_is_not_ready(postgres: Postgres) -> None:
    settings = Settings(
        database_url=postgres.dsn("postgres"), database_timeout_seconds=TIMEOUT_SECONDS
    )
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert "migrate" in answer.json()["detail"]
        sent = event("ATTEMPT_SUCCESS", order="00000000-0000-4000-8000-000000000000", amount="1")
        assert client.post(WEBHOOKS, json=sent).status_code == 503
