"""Promises of `make run`."""

import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest

from local.program import Program, get_status
from tests.eventually import eventually

pytestmark = pytest.mark.long


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    foreign = ("DATABASE_URL", "KAFKA_", "RELAY_", "SERVICE_", "WEBHOOK_", "OUTBOX_", "PG")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return Program(
        "run",
        [sys.executable, "-m", "local", "--data", tmp_path / "data"],
        log=tmp_path / "run.log",
        environment=environment,
    )


def test_everything_listens_until_ctrl_c_and_nothing_after(stack: Program) -> None:
    with stack:
        stack.launch()

        def told() -> str:
            assert "Ctrl-C" in stack.output()
            return stack.output()

        output = eventually(told, timeout_seconds=90)
        urls = re.findall(r"http://127\.0\.0\.1:\d+(?=/openapi\.json|/metrics)", output)
        assert [get_status(f"{url}/readyz") for url in urls] == [200, 200]
        ports = {int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)", output)}
        assert len(ports) == 4
        os.kill(stack.pid, signal.SIGINT)
        assert stack.wait(60) == 0
    for port in ports:
        with socket.socket() as client:
            client.settimeout(2)
            assert client.connect_ex(("127.0.0.1", port)) != 0
