"""What an operator does, for tests: settings, and the real command."""

import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from local.program import script
from relay.settings import Settings

# Two that fit OUTBOX_SECRET_KEY.
SECRET_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
OTHER_KEY = "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1-f4CBgoM="


def settings(database_url: str, **environment: str) -> Settings:
    """The relay's settings for a database, and whatever else the environment says."""
    return Settings.from_environment({"DATABASE_URL": database_url, **environment})


def outbox_relay(
    *arguments: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Runs `outbox-relay` to its end, with this environment and no other."""
    return subprocess.run(
        [str(script("outbox-relay")), *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def relay_role(connection: psycopg.Connection[Any], group: str = "outbox_relay") -> Iterator[str]:
    """The URL of the connection's database for a login that is a member of `group` and no more."""
    info = connection.info
    role = f"relay_{uuid.uuid4().hex[:12]}"
    name = sql.Identifier(role)
    made = sql.SQL("create role {} login in role {}").format(name, sql.Identifier(group))
    connection.execute(made)
    try:
        yield f"postgresql://{role}@{info.host}:{info.port}/{info.dbname}"
    finally:
        connection.execute(sql.SQL("drop role if exists {}").format(name))


PUBLISH = "select outbox.publish(%s, 'order.paid', '{}', group_key => 'g')"


def publish(connection: psycopg.Connection[Any], channel: str = "orders") -> int:
    """Publishes one message and returns its id."""
    row = connection.execute(PUBLISH, (channel,)).fetchone()
    assert row is not None
    return int(row[0])


def drop_login(connection: psycopg.Connection[Any], url: str) -> None:
    """Drops the login of this URL; its sessions stay."""
    name = sql.Identifier(str(conninfo_to_dict(url)["user"]))
    connection.execute(sql.SQL("drop role {}").format(name))


DEAD_LETTER = """
    insert into outbox.dead_letter
        (subscription_id, cursor_id, message_id, priority, channel, type, group_key,
         idempotency_key, headers, content_type, payload, created_at, reason, detail, attempts)
    select cursor.subscription_id, cursor.id, %(message_id)s, 3, 'orders', 'order.paid', 'g',
           'key-' || %(message_id)s, '{"traceparent": "00-1"}', 'application/json',
           %(payload)s, clock_timestamp(), %(reason)s, 'the broker says no', 1
    from outbox.cursor
    join outbox.subscription on subscription.id = cursor.subscription_id
    where cursor.priority = 3 and subscription.name = %(subscription)s
    order by cursor.id
    limit 1
    returning id
"""


def add_dead_letter(
    connection: psycopg.Connection[Any],
    message_id: int,
    *,
    subscription: str = "kafka",
    reason: str = "MSG_SIZE_TOO_LARGE",
    payload: bytes = b'{"n": 1}',
) -> int:
    """Writes a dead letter of a subscription as a run would, and returns its id."""
    values = {
        "message_id": message_id,
        "subscription": subscription,
        "reason": reason,
        "payload": payload,
    }
    row = connection.execute(DEAD_LETTER, values).fetchone()
    assert row is not None
    return int(row[0])
