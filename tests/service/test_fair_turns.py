"""Connections go round by client: none keeps them from the others, or loses one."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import LiteralString

import psycopg
import pytest
from structlog.testing import capture_logs

from service.database import faults
from service.database.faults import Faults
from service.database.pool import Database
from service.database.transaction import Transaction
from service.fair_turns import CrowdedError, Turns
from service.problems import Problem
from service.settings import Settings
from service.web.access.keys import PREFIX
from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS, Platform

# Of the service's eight connections the last two are for who has none.
POOL, KEPT = 8, 2
MANY = 16
MESSAGE = {"channelId": "c", "type": "t", "payload": {}}
HOLD_SUBSCRIPTION: LiteralString = "select from outbox.subscription where id = %s for update"
HOLD_KEYS: LiteralString = "lock table outbox.api_key in access exclusive mode"
WAITING: LiteralString = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""


@contextmanager
def held(platform: Platform, lock: LiteralString, *parameters: object) -> Iterator[None]:
    """A transaction of another session that does not end."""
    with psycopg.connect(platform.database.info.dsn) as holder:
        holder.execute(lock, parameters)
        yield
        holder.rollback()


def some_wait(platform: Platform, number: int) -> None:
    """Raises AssertionError unless so many sessions wait for a lock."""
    assert platform.database.execute(WAITING).fetchone() == (number,)


def test_slow_requests_of_one_key_leave_connections_to_all_others(platform: Platform) -> None:
    made = platform.subscription()
    other = platform.key("publish")
    path = f"{SUBSCRIPTIONS}/{made['id']}/rotate-secret"
    with ThreadPoolExecutor(MANY) as callers, held(platform, HOLD_SUBSCRIPTION, int(made["id"])):
        for _ in range(MANY):
            callers.submit(platform.send, "POST", path)
        eventually(lambda: some_wait(platform, POOL - KEPT))
        for _ in range(MANY):
            assert platform.http.get("/readyz").status_code == 200
            answer = platform.send("POST", "/v1/messages", MESSAGE, other)
            assert answer.status_code == 201, answer.text
        # One that has waited for as long as it may makes room for the next.
        eventually(lambda: some_wait(platform, POOL - KEPT))


def test_clients_with_invalid_keys_leave_connections_to_all_others(
    platform: Platform,
) -> None:
    def guess(number: int) -> int:
        key = f"{PREFIX}{number:043}"
        headers = {"Authorization": f"Bearer {key}"}
        return platform.send("GET", "/v1/stats", headers=headers).status_code

    with ThreadPoolExecutor(MANY) as callers, held(platform, HOLD_KEYS):
        guesses = [callers.submit(guess, number) for number in range(MANY)]
        # They come from one address.
        eventually(lambda: some_wait(platform, 1))
        for _ in range(MANY):
            assert platform.http.get("/readyz").status_code == 200
        some_wait(platform, 1)
    assert {one.result() for one in guesses} <= {401, 503}


def test_a_connection_whose_request_is_interrupted_on_the_way_back_is_not_lost(
    database_url: str,
) -> None:
    async def run() -> None:
        settings = Settings(database_url=database_url, pool_size=1, database_timeout_seconds=1)
        database = Database(settings)
        async with database.pool:
            lock = database.pool._lock

            async def keep_the_pool_busy(_: Transaction) -> None:
                await lock.acquire()

            with pytest.raises(Problem):
                await database.run(keep_the_pool_busy)
            lock.release()

            async def nothing(_: Transaction) -> int:
                return 1

            assert await database.run(nothing) == 1

    asyncio.run(run())


def order_of(turns: Turns, *names: str) -> list[str]:
    """In which order they are served that ask in this one while all turns are taken."""

    async def run() -> list[str]:
        served: list[str] = []

        async def ask(name: str) -> None:
            await turns.take(name)
            served.append(name)
            await asyncio.sleep(0)
            turns.end(name)

        await turns.take("who was first")
        asking = [asyncio.create_task(ask(name)) for name in names]
        await asyncio.sleep(0)
        turns.end("who was first")
        await asyncio.gather(*asking)
        return served

    return asyncio.run(run())


def test_they_go_round_by_name() -> None:
    assert order_of(Turns(1, kept=0), "a", "a", "a", "b", "c", "b") == [
        "a",
        "b",
        "c",
        "a",
        "b",
        "a",
    ]


def test_the_last_turns_are_for_those_that_have_none() -> None:
    async def run() -> None:
        turns = Turns(3, kept=1)
        await turns.take("a")
        await turns.take("a")
        third = asyncio.create_task(turns.take("a"))
        await asyncio.sleep(0)
        await turns.take("b")
        assert turns.waiting == 1
        turns.end("b")
        await asyncio.sleep(0)
        assert not third.done()
        turns.end("a")
        await third
        assert turns.waiting == 0

    asyncio.run(run())


def test_a_wait_that_is_refused_and_given_up_at_once_gives_back_no_turn() -> None:
    async def run() -> None:
        turns = Turns(1, kept=0)
        await turns.take("a")
        refused = asyncio.create_task(turns.take("b"))
        await asyncio.sleep(0)
        assert turns.refuse_one()
        refused.cancel()
        with pytest.raises(asyncio.CancelledError):
            await refused
        waits = asyncio.create_task(turns.take("c"))
        await asyncio.sleep(0)
        assert not waits.done()
        turns.end("a")
        await waits

    asyncio.run(run())


def test_a_wait_that_is_over_is_not_refused() -> None:
    async def run() -> None:
        turns = Turns(1, kept=0)
        await turns.take("a")
        gives_up = asyncio.create_task(turns.take("b"))
        await asyncio.sleep(0)
        gives_up.cancel()
        assert not turns.refuse_one()
        with pytest.raises(asyncio.CancelledError):
            await gives_up

    asyncio.run(run())


def test_where_there_is_no_room_the_longest_wait_of_the_largest_crowd_ends() -> None:
    async def run() -> None:
        turns = Turns(1, kept=0)
        await turns.take("a")
        asking = [asyncio.create_task(turns.take(name)) for name in ("b", "c", "c", "b", "c")]
        await asyncio.sleep(0)
        assert turns.crowd == 3
        turns.refuse_one()
        await asyncio.sleep(0)
        assert [task.done() for task in asking] == [False, True, False, False, False]
        with pytest.raises(CrowdedError):
            await asking[1]
        for name in "abcbc":
            turns.end(name)
            await asyncio.sleep(0)
        assert turns.waiting == 0

    asyncio.run(run())


@pytest.mark.parametrize("ends_first", [False, True])
def test_who_gives_up_takes_no_turn_of_another(ends_first: bool) -> None:
    async def run() -> None:
        turns = Turns(1, kept=0)
        await turns.take("a")
        gives_up = asyncio.create_task(turns.take("b"))
        stays = asyncio.create_task(turns.take("c"))
        await asyncio.sleep(0)
        if ends_first:
            turns.end("a")
            gives_up.cancel()
        else:
            gives_up.cancel()
            turns.end("a")
        await stays
        turns.end("c")
        await turns.take("d")
        assert turns.waiting == 0

    asyncio.run(run())


def test_however_many_meet_a_fault_a_second_has_two_lines_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(faults, "FLUSH_SECONDS", 0.01)

    async def run() -> None:
        told = Faults()
        for _ in range(1000):
            told.note("database busy", "LockNotAvailable")
        await asyncio.sleep(0.1)

    with capture_logs() as lines:
        asyncio.run(run())
    assert [line.get("times") for line in lines] == [None, 999]
