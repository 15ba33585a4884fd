"""Connectors, for operators: where they lead and how that goes; adding one."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from relay.database import Connection, transaction
from relay.operate.subscription import TIMEOUT, NameTakenError, taken
from relay.operate.table import table


class Listed(msgspec.Struct, frozen=True):
    """A connector in the list: the subscription that it is, and why none of its messages can go."""

    name: str
    type: str
    channels: list[str] | None
    config: dict[str, Any]
    delivery: str
    backlog: int
    more: bool
    paused: bool
    paused_reason: str | None
    waiting_reason: str | None
    direction: str = "out"


CONNECTORS = """
    select connector.name, type, channels, config, delivery,
           coalesce(backlog.messages, 0)::bigint as backlog, coalesce(backlog.more, false) as more,
           paused, paused_reason,
           coalesce(connector.waiting_reason, topic.waiting_reason) as waiting_reason
    from outbox.connector
    left join (
        select subscription as name, sum(messages) as messages, bool_or(more) as more
        from outbox.subscription_backlog group by subscription
    ) as backlog on backlog.name = connector.name
    left join (
        select subscription as name, min(waiting_reason) as waiting_reason
        from outbox.cursor_position group by subscription
    ) as topic on topic.name = connector.name
    order by connector.name
"""


def read(connection: Connection) -> list[Listed]:
    """All of them, by name. Raises psycopg.Error."""
    with (
        transaction(connection),
        connection.cursor(row_factory=class_row(Listed)) as cursor,
    ):
        cursor.execute(TIMEOUT)
        return cursor.execute(CONNECTORS).fetchall()


# What of a config says where it leads, of each type.
TO = ("brokers", "namespace", "queue_url", "project")


def render(connectors: Sequence[Listed]) -> str:
    """The list for people."""
    return table(
        ("name", "type", "channels", "to", "topic", "delivery", "backlog", ""),
        [
            (
                one.name,
                one.type,
                "all" if one.channels is None else " ".join(one.channels),
                _to(one),
                _topic(one),
                one.delivery.replace("_", " "),
                f"{one.backlog}{'+' if one.more else ''}",
                _state(one),
            )
            for one in connectors
        ],
    )


def _to(one: Listed) -> str:
    to = next(str(one.config[key]) for key in TO if key in one.config)
    if one.type != "pubsub":
        return to
    return f"{one.config.get('endpoint', '')}/projects/{to}".lstrip("/")


def _topic(one: Listed) -> str:
    by_channel = {"sqs": "", "pubsub": " ".join(one.channels or ())}.get(one.type, "by channel")
    return str(one.config.get("topic") or one.config.get("event_hub") or by_channel)


def _state(one: Listed) -> str:
    if one.paused:
        return f"paused: {one.paused_reason or 'no reason given'}"
    return f"waits: {one.waiting_reason}" if one.waiting_reason else ""


CONNECT = "select outbox.connect(%s, %s, %s, %s, types => %s, shards => %s, delivery => %s)"


def add(
    connection: Connection,
    name: str,
    *,
    channel: str,
    kind: str,
    config: Mapping[str, object],
    types: list[str] | None = None,
    shards: int = 1,
    delivery: str = "at_least_once",
) -> int:
    """Connects a channel to another system, from what commits from now on. Returns its id.

    `config` as outbox.kafka_setting, outbox.sqs_setting or outbox.pubsub_setting knows it. Raises
    NameTakenError, and psycopg.errors.CheckViolation where the database refuses a setting.
    """
    values = (name, channel, kind, Jsonb(config), types, shards, delivery)
    with transaction(connection):
        connection.execute(TIMEOUT)
        try:
            row = connection.execute(CONNECT, values).fetchone()
        except errors.UniqueViolation as known:
            raise NameTakenError(taken(name)) from known
    assert row is not None
    return int(row[0])
