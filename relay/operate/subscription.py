"""One subscription, for operators: what it is, changing it, and ending it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from relay.database import Connection, transaction
from relay.operate.not_found import NotFoundError
from relay.operate.subscriptions import NameTakenError, nested
from relay.operate.table import printable


class Subscription(msgspec.Struct, frozen=True):
    """As its row has it; `settings` with the endpoint's URL, whole."""

    name: str
    kind: str
    channels: list[str] | None
    types: list[str] | None
    delivery: str
    shards: int
    paused: bool
    paused_reason: str | None
    created_at: datetime
    settings: dict[str, Any]


SHOW = """
    select name, kind, channels, types, delivery, shards, paused, paused_reason, created_at,
           settings
    from outbox.subscription where name = %s
"""


def read(connection: Connection, name: str) -> Subscription:
    """Raises NotFoundError."""
    with transaction(connection), connection.cursor(row_factory=class_row(Subscription)) as cursor:
        found = cursor.execute(SHOW, (name,)).fetchone()
    if found is None:
        raise NotFoundError(f"there is no subscription {name}")
    return found


def render(one: Subscription) -> str:
    """For people: a line for each that is said of it, settings by their paths."""
    state = f"paused: {one.paused_reason or 'no reason given'}" if one.paused else "active"
    lines = {
        "name": one.name,
        "kind": one.kind,
        "channels": "all" if one.channels is None else " ".join(one.channels),
        "types": "all" if one.types is None else " ".join(one.types),
        "delivery": one.delivery.replace("_", " "),
        "shards": str(one.shards),
        "state": state,
        "created": one.created_at.isoformat(sep=" ", timespec="seconds"),
        **_paths(one.settings),
    }
    width = max(map(len, lines))
    return "\n".join(f"{name.ljust(width)}  {printable(text)}" for name, text in lines.items())


def _paths(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    paths: dict[str, str] = {}
    for name, value in sorted(settings.items()):
        if isinstance(value, dict):
            paths |= _paths(value, f"{above}{name}.")
        else:
            encoded = msgspec.json.encode(value).decode()
            paths[above + name] = value if isinstance(value, str) else encoded
    return paths


TIMEOUT = """
    select set_config('lock_timeout', '5s', true), set_config('statement_timeout', '10s', true)
"""
LOCK = """
    select name, channels, types, settings from outbox.subscription where name = %s
    for no key update
"""
CHANGE = """
    update outbox.subscription
    set name = %(name)s, channels = %(channels)s, types = %(types)s, settings = %(settings)s
    where name = %(was)s
"""


def change(
    connection: Connection, name: str, given: Mapping[str, object], settings: Mapping[str, object]
) -> None:
    """Changes `given` columns (name, channels, types) and `settings` by their dotted paths.

    A setting of None is the default again (RFC 7396). What is not given stays. Raises
    NotFoundError, NameTakenError, and psycopg.errors.CheckViolation where the database refuses it.
    """
    with transaction(connection):
        connection.execute(TIMEOUT)
        row = connection.execute(LOCK, (name,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no subscription {name}")
        columns = dict(zip(("name", "channels", "types"), row[:3], strict=True))
        merged = Jsonb(_merged(row[3], nested(settings)))
        try:
            connection.execute(CHANGE, {**columns, **given, "settings": merged, "was": name})
        except errors.UniqueViolation as taken:
            raise NameTakenError(f"there is a subscription {given['name']} already") from taken


def _merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(stored)
    for name, value in given.items():
        before = result.pop(name, None)
        if isinstance(value, dict):
            value = _merged(before if isinstance(before, dict) else {}, value) or None
        if value is not None:
            result[name] = value
    return result


RETRY = "select outbox.retry(%s, %s)"


def retry(connection: Connection, name: str, group_key: str | None) -> int:
    """Makes due what waits for its next attempt, or of one group alone; how many messages.

    Raises NotFoundError where there is no such subscription to an endpoint.
    """
    try:
        with transaction(connection):
            connection.execute(TIMEOUT)
            row = connection.execute(RETRY, (name, group_key)).fetchone()
    except errors.NoDataFound as unknown:
        raise NotFoundError(f"there is no http subscription {name}") from unknown
    return int(row[0]) if row else 0


# It waits for runs, and looks through what is unread for as long as 20 s.
PATIENCE: LiteralString = """
    select set_config('lock_timeout', '30s', true), set_config('statement_timeout', '60s', true)
"""
DELETE = "select outbox.delete_subscription(%s, %s)"


class UndeliveredError(ValueError):
    """A subscription still has something to deliver; says what, how many, and what to do."""


def delete(connection: Connection, name: str, *, discard_undelivered: bool) -> None:
    """Ends it. Raises NotFoundError; UndeliveredError unless what is undelivered is to be lost."""
    try:
        with transaction(connection):
            connection.execute(PATIENCE)
            connection.execute(DELETE, (name, discard_undelivered))
    except errors.NoDataFound as unknown:
        raise NotFoundError(f"there is no subscription {name}") from unknown
    except errors.DependentObjectsStillExist as obstacle:
        raise UndeliveredError(
            f"{obstacle.diag.message_primary}: let them arrive, dead letters by a redrive, or lose "
            "them with --discard-undelivered"
        ) from obstacle
