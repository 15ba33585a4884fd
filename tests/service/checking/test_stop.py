"""The service is stopped, or killed, while payloads are checked: no process is left."""

import json
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from service.platform import keys
from tests import event_types
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.service.checking.test_checker import DEEP, ENDLESS

# A tenth of a second each would be longer than a stop may take.
MANY = 150


def child(process_id: int) -> int:
    """The one process that it has started."""
    started = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    assert len(started) == 1
    return int(started[0])


def runs(process_id: int) -> bool:
    """What nobody has buried yet has ended all the same."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(") ")[2][0] != "Z"


@pytest.mark.long
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("stop", "status"), [(signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_no_process_is_left_however_much_is_asked(
    spawn: Spawn,
    database_url: str,
    database: psycopg.Connection[Any],
    free_port: Callable[[], int],
    stop: signal.Signals,
    status: int,
) -> None:
    """SIGTERM comes while many requests wait for a check that takes up to its whole time."""
    event_types.register(database, "endless", ENDLESS, enforcement="report")
    secret = keys.create(database, "shop", ["publish"])
    port = free_port()
    service = spawn(
        "outbox-service",
        environment={"DATABASE_URL": database_url, "SERVICE_PORT": str(port)},
        ready_url=f"http://127.0.0.1:{port}/readyz",
    )
    body = {"channelId": "orders", "type": "endless", "payload": json.loads(DEEP)}
    headers = {"Authorization": f"Bearer {secret}"}
    with (
        httpx2.Client(
            base_url=f"http://127.0.0.1:{port}",
            headers=headers,
            limits=httpx2.Limits(max_connections=MANY),
            timeout=30,
        ) as http,
        ThreadPoolExecutor(MANY) as pool,
    ):
        asking = [pool.submit(http.post, "/v1/messages", json=body) for _ in range(MANY)]
        checking = eventually(lambda: child(service.pid))
        os.kill(service.pid, stop)
        assert service.wait(10) == status
        for one in asking:
            one.exception(10)

    def has_ended() -> None:
        assert not runs(checking)

    eventually(has_ended)
