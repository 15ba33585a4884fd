"""The same log as signed webhooks to one endpoint, a process whose faults are its own."""

import os
import sys
from pathlib import Path
from typing import Any

import psycopg

from local.program import Program
from tests.chaos import endpoint, plan

WEBHOOKS = "webhooks"

# Its own faults never exhaust a message, and its breaker opens where it is down.
SUBSCRIBE = """
insert into outbox.subscription (name, kind, shards, settings)
values (%(name)s, 'http', %(shards)s, jsonb_build_object(
    'endpoint', %(endpoint)s::text, 'timeout_seconds', 2, 'max_payload_bytes', %(size)s::integer,
    'retry', jsonb_build_object('initial_delay_seconds', 0.2, 'multiplier', 1, 'max_attempts', 100),
    'breaker', jsonb_build_object('window_seconds', 10, 'cool_down_seconds', 1)))
"""
SECRET = """
select 'whsec_' || encode(key, 'base64') from outbox.secret
join outbox.subscription on subscription.id = secret.subscription_id where name = %s
"""


def subscribe(
    connection: psycopg.Connection[Any], port: int, *, shards: int, max_bytes: int
) -> None:
    """To every channel, with payloads of at most so many bytes."""
    values = {"name": WEBHOOKS, "shards": shards, "size": max_bytes}
    connection.execute(SUBSCRIBE, values | {"endpoint": f"http://127.0.0.1:{port}/"})


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
