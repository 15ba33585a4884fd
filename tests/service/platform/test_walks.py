"""Requests that read much of the log, or wait for runs, leave connections to all the others."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
import pytest

from tests.eventually import eventually
from tests.service.api import SUBSCRIPTIONS, Platform

# Twice as many as the service has connections.
MANY = 16
HOLD: LiteralString = """
    select from outbox.cursor where subscription_id = %s for no key update
"""
WAITING: LiteralString = """
    select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
"""


@contextmanager
def held(platform: Platform, subscription_id: str) -> Iterator[None]:
    """A relay's run that does not end: replay and delete wait for it."""
    with psycopg.connect(platform.database.info.dsn) as holder:
        holder.execute(HOLD, [int(subscription_id)])
        yield
        holder.rollback()


@pytest.mark.parametrize(
    ("method", "step", "body"),
    [
        ("POST", "/replay", {"from": "2020-01-01T00:00:00Z"}),
        ("DELETE", "?discardUndelivered=true", None),
    ],
    ids=["replay", "delete"],
)
def test_many_of_one_key_at_once_delay_no_other(
    platform: Platform, method: str, step: str, body: Any
) -> None:
    made = platform.subscription()
    with ThreadPoolExecutor(MANY) as callers, held(platform, made["id"]):
        path = f"{SUBSCRIPTIONS}/{made['id']}{step}"
        for _ in range(MANY):
            callers.submit(platform.send, method, path, body)

        def some_wait() -> None:
            assert platform.database.execute(WAITING).fetchone() == (1,)

        eventually(some_wait)
        for _ in range(MANY):
            assert platform.http.get("/readyz").status_code == 200
        platform.ask("GET", f"{SUBSCRIPTIONS}/{made['id']}")
        some_wait()


@pytest.mark.long
def test_who_does_not_get_its_turn_is_told_to_come_again(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = platform.subscription()
    path = f"{SUBSCRIPTIONS}/{made['id']}/replay"
    body = {"from": "2020-01-01T00:00:00Z"}
    with ThreadPoolExecutor(MANY) as callers, held(platform, made["id"]):
        answers = [callers.submit(platform.send, "POST", path, body) for _ in range(MANY)]

        def refused() -> None:
            done = [one.result() for one in answers if one.done()]
            assert len(done) == MANY - 1
            assert {answer.status_code for answer in done} == {503}
            assert all("Retry-After" in answer.headers for answer in done)

        eventually(refused, 30)
        assert platform.http.get("/v1/stats", headers=platform.authorization).status_code == 503
    assert platform.http.get("/v1/stats", headers=platform.authorization).status_code == 200
