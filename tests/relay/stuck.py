"""Relays whose calls to librdkafka hang, or might, and what they say of themselves."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local.program import Program

# The barrier of one second and its slack: see stuck_relay.py.
NO_ROOM_SECONDS = 6.0


@contextmanager
def start(
    directory: Path, environment: Mapping[str, str], call: str = "flush", times: int = 0
) -> Iterator[Program]:
    """A relay whose first `times` calls of one kind do not return; killed in the end."""
    relay = Program(
        "relay",
        [sys.executable, "-m", "tests.relay.stuck_relay", call, str(times), "run"],
        log=directory / "relay.log",
        environment={"PATH": os.environ["PATH"], **environment},
    )
    relay.launch()
    try:
        yield relay
    finally:
        relay.kill()
        print(relay.log_tail(16_000))


def asked(relay: Program, path: str) -> tuple[int, str]:
    """Status and body of the relay's page."""
    try:
        assert relay.environment is not None
        url = f"http://127.0.0.1:{relay.environment['RELAY_PORT']}{path}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
