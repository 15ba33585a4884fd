"""Relays in threads of their own, as workers are, against one receiver."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.relay.push.stage import PushRelay


class Fleet:
    """`relays` relays take turns at every cursor; `faults` are what ended one, `fenced` runs that
    the database refused.
    """

    def __init__(self, database_url: str, relays: int) -> None:
        self.faults: list[BaseException] = []
        self.fenced = 0
        self._url = database_url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._live) for _ in range(relays)]

    @contextmanager
    def working(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(20)

    def _live(self) -> None:
        try:
            with PushRelay(self._url) as relay:
                while not self._stop.is_set():
                    self._round(relay)
        except BaseException as fault:
            self.faults.append(fault)

    def _round(self, relay: PushRelay) -> None:
        try:
            if not relay.round():
                self._stop.wait(0.01)
        except psycopg.errors.UniqueViolation:
            self.fenced += 1
