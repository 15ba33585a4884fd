"""Promises of `make run`."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import httpx2
import pytest

from local.program import Program, get_status
from tests.eventually import eventually


@pytest.fixture
def stack(tmp_path: Path, arguments: list[str]) -> Program:
    foreign = ("DATABASE_URL", "KAFKA_", "RELAY_", "SERVICE_", "WEBHOOK_", "OUTBOX_", "PG")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return Program(
        "run",
        [sys.executable, "-m", "local", "--data", tmp_path / "data", *arguments],
        log=tmp_path / "run.log",
        environment=environment,
    )


def listening(output: str) -> set[int]:
    """The ports that it names."""
    return {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", output)}


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        pytest.param([], 4, id="plain", marks=pytest.mark.long),
        pytest.param(["--with", "kafka-2,sqs"], 6, id="with", marks=pytest.mark.nightly),
    ],
)
def test_everything_listens_until_ctrl_c_and_nothing_after(stack: Program, number: int) -> None:
    with stack:
        stack.launch()

        def told() -> str:
            output = stack.output()
            assert len(listening(output)) == number
            return output

        output = eventually(told, timeout_seconds=90)
        urls = re.findall(r"http://127\.0\.0\.1:\d+(?=/openapi\.json|/metrics)", output)
        assert [get_status(f"{url}/readyz") for url in urls] == [200, 200]
        told_of_it = re.search(r"(http://\S+/console) .* (ok_\S+)", output)
        assert told_of_it is not None
        address, key = told_of_it.groups()
        signed_in = httpx2.post(
            f"{address}/sign-in", data={"key": key}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/console")
        ports = listening(output)
        os.kill(stack.pid, signal.SIGINT)
        assert stack.wait(60) == 0
    for port in ports:
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex(("127.0.0.1", port)) != 0
