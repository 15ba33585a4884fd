"""A connection that was ended in a quiet time costs no request anything."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.database.pool import Database
from service.settings import Settings
from tests.proxy import Proxy

# Returns when they are gone, or after ten seconds.
END = """
    select bool_and(pg_terminate_backend(pid, 10000)) from pg_stat_activity
    where datname = current_database() and application_name = 'outbox-service'
"""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """Between the service and the database."""
    with Proxy(urlsplit(database_url).port or 5432) as proxy:
        yield proxy


def by_the_server(database_url: str, _: Proxy) -> None:
    """The sessions end with a word, as by idle_session_timeout."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert connection.execute(END).fetchone() == (True,)


def by_a_proxy(_: str, proxy: Proxy) -> None:
    """Their sockets end without one."""
    proxy.cut()


@pytest.mark.parametrize("end", [by_the_server, by_a_proxy])
def test_the_next_request_gets_a_fresh_one(
    database_url: str, proxy: Proxy, end: Callable[[str, Proxy], None]
) -> None:
    settings = Settings(database_url=proxy.url(database_url), pool_size=4)
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        for _ in range(3):
            assert client.get("/readyz").status_code == 200
            end(database_url, proxy)
        assert client.get("/readyz").status_code == 200


# What a router or a load balancer allows at the least, in seconds, before it forgets one.
MIN_MEMORY_SECONDS = 60


def test_no_connection_is_so_quiet_that_it_is_forgotten_on_the_way(database_url: str) -> None:
    async def options() -> list[int]:
        database = Database(Settings(database_url=database_url, pool_size=1))
        await database.pool.open()
        try:
            async with database.pool.connection() as connection:
                with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                    return [
                        wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                        wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
                        wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
                    ]
        finally:
            await database.pool.close()

    kept_alive, idle_seconds, unanswered_milliseconds = asyncio.run(options())
    assert kept_alive == 1
    assert idle_seconds < MIN_MEMORY_SECONDS
    assert 0 < unanswered_milliseconds < MIN_MEMORY_SECONDS * 1000
