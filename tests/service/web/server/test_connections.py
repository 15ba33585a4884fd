"""How many connections a process holds, whatever comes."""

import asyncio

import uvloop

from service.app import create_app
from service.settings import Settings
from service.web.server.connections import MAX_BEYOND_LIMIT, Connections

LIMIT = 3


class Transport:
    """Of a connection that is there until it is aborted."""

    def __init__(self, there: list["Client"]) -> None:
        self._there = there

    def abort(self) -> None:
        self._there[:] = [one for one in self._there if one.transport is not self]


class Client:
    def __init__(self, there: list["Client"]) -> None:
        self.transport = Transport(there)

    def end_if_overdue(self, now: float) -> None:
        raise AssertionError


def bounded(refuses: bool) -> Connections:
    app = create_app(Settings(database_url="postgresql:///"))
    return Connections(LIMIT, 60, app.state.metrics, lambda: refuses)


def come(bound: Connections, there: list[Client], *, at_work: bool) -> Client:
    client = Client(there)
    there.append(client)
    bound.opened(client, len(there))  # type: ignore[arg-type]
    if at_work and client in there:
        bound.work(client)  # type: ignore[arg-type]
    return client


def let_the_clock_move_on() -> None:
    """Within one turn of the loop."""
    loop = asyncio.get_running_loop()
    before = loop.time()
    while loop.time() == before:
        pass


def test_requests_that_are_refused_and_never_end_let_in_few_more_than_the_limit() -> None:
    async def run() -> None:
        bound, there = bounded(refuses=True), list[Client]()
        for _ in range(100):
            come(bound, there, at_work=True)
        assert len(there) == LIMIT + MAX_BEYOND_LIMIT

    uvloop.run(run())


def test_of_two_that_come_at_once_while_all_others_are_at_work_both_are_let_in() -> None:
    async def run() -> None:
        bound, there = bounded(refuses=True), list[Client]()
        for _ in range(LIMIT):
            come(bound, there, at_work=True)
        first = come(bound, there, at_work=False)
        let_the_clock_move_on()
        second = come(bound, there, at_work=False)
        assert first in there
        assert second in there

    uvloop.run(run())


def test_where_no_request_only_waits_the_newcomer_is_closed() -> None:
    async def run() -> None:
        bound, there = bounded(refuses=False), list[Client]()
        for _ in range(LIMIT):
            come(bound, there, at_work=True)
        assert come(bound, there, at_work=False) not in there

    uvloop.run(run())
