"""The process that checks payloads: what it answers, and what becomes of one that is lost."""

import asyncio
import json
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from catalogue.closing import close
from catalogue.faults import Fault
from catalogue.schema import parse
from catalogue.validation import Validator
from service.checking.checker import UNCHECKED, Checker
from service.checking.frames import Question
from service.fair_turns import asks_for

WORD: dict[str, Any] = {"properties": {"word": {"pattern": r"\bword"}, "n": {"type": "integer"}}}
# Each level of a payload is looked at four times as often as the one around it.
ENDLESS: dict[str, Any] = {
    "anyOf": [
        {"required": [name], "properties": {"a": {"$ref": "#"}}, "unevaluatedProperties": False}
        for name in ("b", "c")
    ]
}
DEEP = b'{"a":' * 40 + b"{}" + b"}" * 40


def checking(work: Callable[[Checker], Awaitable[None]]) -> None:
    """Runs `work`, and whatever comes of it the process is ended."""

    async def run() -> None:
        async with opened() as checker:
            await work(checker)
        assert checker.process_id is None

    # As the service does.
    uvloop.run(run())


@asynccontextmanager
async def opened() -> AsyncIterator[Checker]:
    checker = Checker()
    try:
        yield checker
    finally:
        await checker.close()


async def ask(checker: Checker, schema: str, payload: bytes, at_most: int) -> list[Fault]:
    [found] = await checker.faults([Question(schema, payload, at_most)])
    return found


def test_the_faults_are_those_that_a_validator_of_the_closed_schema_tells() -> None:
    written = json.dumps(WORD)
    expected = Validator(close(parse(written.encode())))

    async def work(checker: Checker) -> None:
        for payload in (b'{"word": "a word"}', b'{"word": "sword", "n": "", "m": 1}', b"{"):
            for at_most in (1, 20):
                found = await ask(checker, written, payload, at_most)
                assert tuple(found) == expected.faults(payload, at_most)

    checking(work)


def test_no_process_is_started_before_there_is_something_to_check() -> None:
    async def work(checker: Checker) -> None:
        assert checker.process_id is None
        await ask(checker, "true", b"1", 1)
        assert checker.process_id is not None

    checking(work)


def test_what_would_take_for_ever_is_given_up_and_the_next_is_answered() -> None:
    async def work(checker: Checker) -> None:
        assert await ask(checker, json.dumps(ENDLESS), DEEP, 1) == [UNCHECKED]
        assert await ask(checker, "false", b"1", 1) != [UNCHECKED]

    checking(work)


def test_what_was_interrupted_is_answered_to_nobody_else() -> None:
    async def work(checker: Checker) -> None:
        asking = asyncio.create_task(ask(checker, "false", b"1", 1))
        await asyncio.sleep(0)
        asking.cancel()
        assert await ask(checker, "true", b"1", 1) == []

    checking(work)


def test_a_process_that_was_killed_is_followed_by_another_that_is_asked_again() -> None:
    async def work(checker: Checker) -> None:
        await ask(checker, "true", b"1", 1)
        assert checker.process_id is not None
        os.kill(checker.process_id, signal.SIGKILL)
        assert await ask(checker, "true", b"1", 1) == []

    checking(work)


def test_what_fills_the_memory_is_given_up_and_what_only_came_after_it_is_not() -> None:
    async def work(checker: Checker) -> None:
        # All that it may have but a little, by what it keeps of others.
        await ask(checker, "true", b"1", 1)
        assert checker.process_id is not None
        resource.prlimit(checker.process_id, resource.RLIMIT_AS, (1 << 20, 256 << 20))
        many = json.dumps(list(range(100_000))).encode()
        assert await ask(checker, "true", many, 1) == []
        assert await ask(checker, "true", b"[" + b"[]," * 5_000_000 + b"1]", 1) == [UNCHECKED]

    checking(work)


def test_who_stops_all_processes_stops_this_one_by_the_service() -> None:
    async def work(checker: Checker) -> None:
        await ask(checker, "true", b"1", 1)
        process_id = checker.process_id
        assert process_id is not None
        for stop in (signal.SIGTERM, signal.SIGINT):
            os.kill(process_id, stop)
        assert await ask(checker, "true", b"1", 1) == []
        assert checker.process_id == process_id

    checking(work)


def test_a_process_that_can_not_be_started_is_told_like_one_that_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")

    async def work(checker: Checker) -> None:
        assert await ask(checker, "true", b"1", 1) == [UNCHECKED]

    checking(work)


def test_a_module_in_the_directory_of_the_start_is_not_taken_for_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)

    async def work(checker: Checker) -> None:
        assert await ask(checker, "true", b"1", 1) == []

    checking(work)


def test_what_is_frozen_is_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(checker: Checker) -> None:
        await ask(checker, "true", b"1", 1)
        assert checker.process_id is not None
        os.kill(checker.process_id, signal.SIGSTOP)
        monkeypatch.setattr("service.checking.checker.PATIENCE_SECONDS", 0.1)
        assert await ask(checker, "true", b"1", 1) == [UNCHECKED]
        assert checker.process_id is None

    checking(work)


def test_what_one_request_asks_is_answered_in_one_turn_and_in_its_order() -> None:
    async def work(checker: Checker) -> None:
        asks_for.set("tenant")
        await ask(checker, "true", b"1", 1)
        questions = [Question(json.dumps(ENDLESS), DEEP, 1)] * 50
        tenant = asyncio.create_task(checker.faults(questions))
        await asyncio.sleep(0)
        asks_for.set("shop")
        shop = await checker.faults([Question(one, b"1", 1) for one in ("true", "false", "true")])
        assert [len(found) for found in shop] == [0, 1, 0]
        assert await tenant == [[UNCHECKED]] * 50

    checking(work)


def test_who_is_interrupted_while_he_waits_asks_nothing() -> None:
    """So a stop of the service waits for nothing but the end of one process."""

    async def work(checker: Checker) -> None:
        await ask(checker, "true", b"1", 1)
        asking = [asyncio.create_task(ask(checker, "true", b"1", 1)) for _ in range(50)]
        await asyncio.sleep(0)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        assert checker.process_id is None

    checking(work)


def test_one_that_asks_for_much_does_not_keep_others_waiting() -> None:
    """The other's payload waits for the one that is checked, and for one of those that wait."""

    async def work(checker: Checker) -> None:
        asks_for.set("tenant")
        many = [asyncio.create_task(ask(checker, json.dumps(ENDLESS), DEEP, 1)) for _ in range(5)]
        await asyncio.sleep(0)
        asks_for.set("shop")
        assert await ask(checker, "true", b"1", 1) == []
        assert sum(task.done() for task in many) <= 2
        for task in many:
            task.cancel()
        await asyncio.gather(*many, return_exceptions=True)

    checking(work)
