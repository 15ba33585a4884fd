"""The same log as signed webhooks to one endpoint, a process whose faults are its own."""

import os
import sys
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from local.program import Program
from tests.chaos import endpoint, plan

WEBHOOKS = "webhooks"

PATH = "/"

SUBSCRIBE = """
insert into outbox.subscription (name, kind, shards, settings) values (%s, 'http', %s, %s)
"""
SECRET = """
select 'whsec_' || encode(key, 'base64') from outbox.secret
join outbox.subscription on subscription.id = secret.subscription_id where name = %s
"""


def subscribe(
    connection: psycopg.Connection[Any], port: int, *, shards: int, max_bytes: int
) -> None:
    """To every channel, with payloads of at most so many bytes."""
    own = settings(port, PATH, max_bytes=max_bytes)
    connection.execute(SUBSCRIBE, [WEBHOOKS, shards, Jsonb(own)])


def settings(port: int, path: str, *, max_bytes: int) -> dict[str, object]:
    """The endpoint's own faults never exhaust a message; the breaker opens where it is down."""
    return {
        "endpoint": f"http://127.0.0.1:{port}{path}",
        "timeout_seconds": 2,
        "max_payload_bytes": max_bytes,
        "retry": {"initial_delay_seconds": 0.2, "multiplier": 1, "max_attempts": 100},
        "breaker": {"window_seconds": 10, "cool_down_seconds": 1},
    }


def endpoint_program(
    connection: psycopg.Connection[Any], port: int, directory: Path, journal: Path
) -> Program:
    """The endpoint, not yet launched; it knows the subscription's secret."""
    row = connection.execute(SECRET, [WEBHOOKS]).fetchone()
    assert row is not None
    return Program(
        plan.ENDPOINT,
        [sys.executable, "-m", endpoint.__name__, "--port", str(port), "--journal", journal],
        log=directory / f"{plan.ENDPOINT}.log",
        environment={**os.environ, "ENDPOINT_SECRET": row[0]},
    )
