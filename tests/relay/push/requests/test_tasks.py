"""What a run asks of the loop that all endpoints share: by counts, not by times."""

import asyncio
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from relay.log.message import Row
from relay.log.reading import Reading
from relay.push.http import pool
from tests.relay.push.stage import PushRelay, PushStage

REQUESTS = 1000


def test_a_run_over_open_connections_makes_no_task(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "TRIAL_SECONDS", 0.0)
    monkeypatch.setattr(pool, "KEEP_ALIVE_SECONDS", 600.0)
    monkeypatch.setattr(pool, "MAX_AGE_SECONDS", 600.0)
    stage.subscribe(concurrency=8)
    stage.publish(*(f"open{number}:1" for number in range(100)))
    relay.drain()
    made: list[str] = []

    def note(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> Any:
        made.append(repr(coroutine))
        return asyncio.Task(coroutine, loop=loop, **options)

    noting, loop = threading.Event(), relay.request_loop.loop
    loop.call_soon_threadsafe(loop.set_task_factory, note)
    loop.call_soon_threadsafe(noting.set)
    assert noting.wait(10)
    stage.publish(*(f"g{number}:1" for number in range(REQUESTS)))
    relay.drain()
    assert len(stage.keys()) == 100 + REQUESTS
    assert made == []


class Counting:
    """A loop that counts what other threads hand over to it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.handed_over: list[str] = []
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_soon_threadsafe(self, call: Callable[..., object], *arguments: Any) -> Any:
        self.handed_over.append(call.__name__)
        return self._loop.call_soon_threadsafe(call, *arguments)


def test_a_run_hands_each_page_over_once_and_its_end(
    stage: PushStage, relay: PushRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[int] = []
    read = Reading.pages

    def noted(reading: Reading) -> Generator[list[Row]]:
        for page in read(reading):
            pages.append(len(page))
            yield page

    monkeypatch.setattr(Reading, "pages", noted)
    stage.subscribe(concurrency=8)
    stage.publish(*(f"g{number}:1" for number in range(REQUESTS)))
    loop = Counting(relay.request_loop.loop)
    monkeypatch.setattr(relay.request_loop, "loop", loop)
    (cursor,) = relay.probe()
    relay.run(cursor)
    assert sum(pages) == REQUESTS
    assert loop.handed_over == ["_feed"] * len(pages) + ["_close", "_release"]
