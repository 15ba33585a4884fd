"""How many connections are opened at once: of one endpoint, and of a key however many it has."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from relay.push.fair_turns import Owner
from relay.push.http.openings import FIRST_OPENING, MAX_OF_A_KEY, MAX_OPENING, Openings


class Asked:
    """`opening` are the names of those that are being opened, `rested` of those told of a rest.

    Of each endpoint `opened` are open already.
    """

    def __init__(self, opened: int) -> None:
        self.opened = opened
        self.openings = Openings(self._opened)
        self.opening: list[str] = []
        self.rested: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, owner: Owner, *names: str) -> None:
        """Each of the endpoint that its name begins with."""
        for name in names:
            self._tasks[name] = asyncio.create_task(self._begin(owner, name))
        await turns()

    def _opened(self, _: str) -> int:
        return self.opened

    async def _begin(self, owner: Owner, name: str) -> None:
        begun = await self.openings.begin(name[0], owner)
        (self.opening if begun else self.rested).append(name)

    async def end(self, owner: Owner, name: str) -> None:
        self.opening.remove(name)
        self.openings.end(name[0], owner)
        await turns()

    async def give_up(self, *names: str) -> None:
        for name in names:
            self._tasks[name].cancel()
        await turns()


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def names(endpoint: str, number: int) -> list[str]:
    return [f"{endpoint}{n}" for n in range(number)]


def played(
    play: Callable[[Asked], Coroutine[Any, Any, None]], *, opened: int = MAX_OPENING
) -> None:
    async def main() -> None:
        asked = Asked(opened)
        await play(asked)
        for url, owner in list(asked.openings._under_way.elements()):
            asked.openings.end(url, owner)
        # Nothing is left of what is over.
        assert vars(asked.openings) == vars(Openings(asked._opened))

    uvloop.run(main())


def test_of_an_endpoint_so_many_are_opened_at_once_and_the_first_that_waits_is_next() -> None:
    async def play(asked: Asked) -> None:
        await asked.ask(None, *names("a", MAX_OPENING + 2))
        assert asked.opening == names("a", MAX_OPENING)
        await asked.ask(None, "b0")
        assert asked.opening[-1] == "b0"
        await asked.end(None, "a3")
        assert asked.opening[-1] == f"a{MAX_OPENING}"
        await asked.give_up(f"a{MAX_OPENING + 1}")

    played(play)


def test_of_an_endpoint_as_many_are_opened_at_once_as_are_open() -> None:
    """So that the handshakes of many that are new are done before the requests' time is over."""

    async def play(asked: Asked) -> None:
        await asked.ask(None, *names("a", 60))
        under_way = [len(asked.opening)]
        for asked.opened in (1, FIRST_OPENING, 7, MAX_OPENING + 1):
            await asked.end(None, asked.opening[0])
            under_way.append(len(asked.opening))
        assert under_way == [FIRST_OPENING, FIRST_OPENING, FIRST_OPENING, 7, MAX_OPENING]
        await asked.give_up(*names("a", 60))

    played(play, opened=0)


def test_of_a_key_so_many_are_opened_at_once_and_one_of_each_endpoint() -> None:
    async def play(asked: Asked) -> None:
        endpoints = "abcdefghijklmnopqrstuvwxyz"
        for endpoint in endpoints:
            await asked.ask("key", *names(endpoint, 20))
        of_each = [sum(name[0] == endpoint for name in asked.opening) for endpoint in endpoints]
        assert of_each[:5] == [MAX_OPENING, 8, 4, 2, 1]
        assert min(of_each) == 1
        assert len(asked.opening) <= MAX_OF_A_KEY + len(endpoints)
        await asked.ask("other", "a0")
        await asked.ask(None, *names("a", MAX_OPENING))
        assert asked.opening[-MAX_OPENING - 1 :] == ["a0", *names("a", MAX_OPENING)]
        for endpoint in endpoints:
            await asked.give_up(*names(endpoint, 20))

    played(play)


def test_what_one_endpoint_of_a_key_gives_back_is_there_for_another() -> None:
    async def play(asked: Asked) -> None:
        await asked.ask("key", *names("a", 20))
        await asked.ask("key", *names("b", 20))
        assert sum(name[0] == "b" for name in asked.opening) == 8
        for name in names("a", 8):
            await asked.end("key", name)
        assert sum(name[0] == "b" for name in asked.opening) > 8
        await asked.give_up(*names("a", 20), *names("b", 20))

    played(play)


def test_one_that_rests_is_for_the_first_that_waits() -> None:
    async def play(asked: Asked) -> None:
        await asked.ask("key", *names("a", MAX_OPENING + 2))
        assert asked.openings.are_awaited("a")
        asked.openings.rests("b")
        asked.openings.rests("a")
        await turns()
        assert asked.rested == [f"a{MAX_OPENING}"]
        asked.openings.rests("a")
        await turns()
        assert not asked.openings.are_awaited("a")

    played(play)


def test_one_that_was_called_is_awaited_until_it_has_taken_what_rests() -> None:
    async def play(asked: Asked) -> None:
        await asked.ask("key", *names("a", MAX_OPENING + 1))
        asked.openings.rests("a")
        assert asked.openings.are_awaited("a")
        # It keeps nobody from opening one meanwhile.
        for name in names("a", MAX_OPENING):
            asked.opening.remove(name)
            asked.openings.end("a", "key")
        await asked.ask("key", "anew")
        assert (asked.rested, asked.opening) == ([f"a{MAX_OPENING}"], ["anew"])
        assert not asked.openings.are_awaited("a")

    played(play)


@pytest.mark.parametrize("begins", [True, False])
def test_what_came_for_one_that_is_given_up_in_that_moment_is_the_next_ones(begins: bool) -> None:
    async def play(asked: Asked) -> None:
        first, second = f"a{MAX_OPENING}", f"a{MAX_OPENING + 1}"
        await asked.ask("key", *names("a", MAX_OPENING + 2))
        if begins:
            asked.opening.remove("a0")
            asked.openings.end("a", "key")
        else:
            asked.openings.rests("a")
        await asked.give_up(first)
        assert (asked.opening if begins else asked.rested)[-1] == second
        await asked.give_up(second)

    played(play)
