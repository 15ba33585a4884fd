"""Asks the process that checks, and starts it when it is needed."""

import asyncio
import signal
import sys
from asyncio import IncompleteReadError
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

import structlog

from catalogue.faults import Fault
from service.checking.frames import FAULTS, LENGTH, Question, framed
from service.fair_turns import Turns, asks_for

# For a turn, and then for an answer; the process itself gives up much sooner, by its own time.
PATIENCE_SECONDS = 10.0
# The fault of a payload of which it could not be told.
UNCHECKED = Fault("", "unchecked", "it takes too long to tell whether it fits")

log = structlog.get_logger()


class Checker:
    """What one request asks at a time, and of each sender in turn: who `asks_for` it."""

    def __init__(self) -> None:
        self._turns = Turns(1, kept=0)
        self._process: Process | None = None

    @property
    def process_id(self) -> int | None:
        """None where none runs."""
        return None if self._process is None else self._process.pid

    async def faults(self, asked: Sequence[Question]) -> list[list[Fault]]:
        """What of each does not fit; of each UNCHECKED alone where that can't be told of all."""
        name = asks_for.get()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._turns.take(name)
        except TimeoutError:
            return _unchecked(asked, "too many wait for their turn")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._answer(framed(asked))
        except (OSError, IncompleteReadError) as error:
            return _unchecked(asked, type(error).__name__)
        finally:
            self._turns.end(name)

    async def close(self) -> None:
        """Ends the process; nobody asks any more."""
        if self._process is not None:
            await self._end(self._process)

    async def _answer(self, frame: bytes) -> list[list[Fault]]:
        """Raises OSError and IncompleteReadError where it is lost by what it is asked.

        It may be lost by others too: killed, or with its memory full of what came before. So one
        that was not new, and did not end by its time, is followed by a new one that is asked again.
        """
        while True:
            is_new = self._process is None
            process = self._process = self._process or await _start()
            try:
                return await _exchange(process, frame)
            except (ConnectionError, IncompleteReadError):
                if await self._end(process) == -signal.SIGPROF or is_new:
                    raise
            except BaseException:
                # Interrupted: the next one would read the rest of this answer.
                await self._end(process)
                raise

    async def _end(self, process: Process) -> int:
        """Its exit status."""
        self._process = None
        with suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        return await process.wait()


def _unchecked(asked: Sequence[Question], reason: str) -> list[list[Fault]]:
    log.warning("payloads could not be checked", payloads=len(asked), reason=reason)
    return [[UNCHECKED] for _ in asked]


async def _start() -> Process:
    # -P: what stands in the directory that the service was started in is none of its modules.
    program = (sys.executable, "-P", "-m", "service.checking")
    return await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)


async def _exchange(process: Process, frame: bytes) -> list[list[Fault]]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(frame)
    await process.stdin.drain()
    [length] = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    return FAULTS.decode(await process.stdout.readexactly(length))
