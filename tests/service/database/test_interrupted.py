"""A request that is interrupted at the database leaves nothing behind that complains later."""

import asyncio
from collections.abc import Generator

import pytest
from psycopg import OperationalError
from psycopg.waiting import Ready, Wait

from service.database.connection import Connection


def test_what_was_waited_for_has_ended_when_its_task_is_interrupted(database_url: str) -> None:
    """The end of a pipeline asks its connection, which is closed when the collector comes."""
    told: list[str] = []

    def talk() -> Generator[Wait, Ready | int, None]:
        try:
            yield Wait.R
        finally:
            told.append("flush")
            try:
                yield Wait.W
            finally:
                told.append("end")
                raise OperationalError("the connection is closed")

    async def interrupt() -> BaseException:
        async with await Connection.connect(database_url) as connection:
            waiting = asyncio.create_task(connection.wait(talk()))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await waiting
            # It holds on to what was waited for.
            return caught.value

    kept = asyncio.run(interrupt())
    assert (told, kept.__context__) == (["flush", "end"], None)
