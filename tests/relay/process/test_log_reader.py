"""The reader of a process's log may be gone, or have stopped: the work goes on."""

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, Protocol

import psycopg
import pytest
from httpx2 import Client

from local.program import get_status, script
from relay.process.log_stream import LogStream as RelaysStream
from service.process.log_stream import LogStream as ServicesStream
from tests.eventually import eventually
from tests.relay.stage import Stage
from tests.service.shop import Shop, event

pytest_plugins = ["tests.relay.stage_fixtures"]

SMALL_PIPE_BYTES = 4096
# More than such a pipe holds.
MANY_LINES = 60


class LogStream(Protocol):
    def write(self, text: str) -> int: ...


@contextmanager
def process(
    name: str, *arguments: str, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A process, and the other end of its log."""
    with subprocess.Popen(
        [script(name), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as started:
        assert started.stdout is not None
        try:
            yield started, started.stdout
        finally:
            started.kill()


def gone(log: IO[bytes]) -> None:
    log.close()


def stopped(log: IO[bytes]) -> None:
    fcntl.fcntl(log, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)


@pytest.mark.long
@pytest.mark.parametrize("reader", [gone, stopped])
def test_messages_go_whatever_the_reader_of_the_relays_log_does(
    stage: Stage, reader: Callable[[IO[bytes]], None]
) -> None:
    stage.create_topic("orders")
    with process("outbox-relay", "run", environment=stage.environment()) as (relay, log):
        stage.publish(10, "orders")
        stage.all_arrived("orders")
        reader(log)
        for number in range(MANY_LINES):
            # Each is a line, and then one of many.
            stage.publish(1, f"nowhere.{number}.{'x' * 150}")
        stage.publish(10, "orders")

        def arrived() -> None:
            stage.reckoning("orders").demand_all_in_order()

        eventually(arrived, 30)
        relay.terminate()
        assert relay.wait(10) == 0


@pytest.mark.parametrize("reader", [gone, stopped])
def test_webhooks_are_answered_whatever_the_reader_of_the_services_log_does(
    database_url: str, free_port: Callable[[], int], reader: Callable[[IO[bytes]], None]
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {"DATABASE_URL": database_url, "SERVICE_PORT": str(port)}

    def ready() -> None:
        assert get_status(f"{url}/readyz") == 200

    with (
        process("outbox-service", environment=environment) as (service, log),
        Client(base_url=url) as http,
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        eventually(ready, 30)
        shop = Shop(http, database)
        order = shop.processing_order()
        reader(log)
        for _ in range(MANY_LINES):
            shop.deliver(event("ATTEMPT_SUCCESS", order=order["id"], paid="10"))
        service.terminate()
        assert service.wait(10) == 0


@pytest.fixture(params=[RelaysStream, ServicesStream], ids=["relay", "service"])
def pipe(request: pytest.FixtureRequest) -> Iterator[tuple[LogStream, int]]:
    """A log into a small pipe, and that pipe's other end."""
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, SMALL_PIPE_BYTES)
    with os.fdopen(write, "w") as stream:
        yield request.param(stream), read
    os.close(read)


def test_what_a_full_log_lost_is_told_when_it_is_read_on(pipe: tuple[LogStream, int]) -> None:
    log, read = pipe
    for number in range(50):
        log.write(json.dumps({"event": "a" * 150, "n": number}) + "\n")
    before = lines(os.read(read, 65_536))
    log.write('{"event": "last"}\n')
    lost, last = lines(os.read(read, 65_536))
    assert lost == {"event": "log_lines_lost", "level": "warning", "number": 50 - len(before)}
    assert last == {"event": "last"}


def test_a_line_that_did_not_fit_whole_spoils_none_after_it(pipe: tuple[LogStream, int]) -> None:
    log, read = pipe
    log.write("x" * 3 * SMALL_PIPE_BYTES + "\n")
    os.read(read, 65_536)
    log.write('{"event": "last"}\n')
    assert [line.get("number") for line in lines(os.read(read, 65_536).lstrip())] == [1, None]


def test_a_reader_that_is_slow_all_the_time_takes_a_tenth_of_it_at_most(
    pipe: tuple[LogStream, int],
) -> None:
    log, read = pipe
    began_at = time.monotonic()
    for _ in range(30):
        # The second one finds the pipe full.
        for _ in range(2):
            log.write("x" * 3000 + "\n")
        os.read(read, 65_536)
    assert time.monotonic() - began_at < 1


@pytest.mark.parametrize("stream", [RelaysStream, ServicesStream], ids=["relay", "service"])
def test_a_process_without_a_log_goes_without_one(stream: Callable[[None], LogStream]) -> None:
    assert stream(None).write("line\n") == 5


def lines(read: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read.decode().splitlines()]
