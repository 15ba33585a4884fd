"""One subscription, for operators: what it is; adding, changing, pausing and ending it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

import msgspec
from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from relay.database import Connection, transaction
from relay.keyring import UNSEALED, Keyring
from relay.operate.not_found import NotFoundError
from relay.operate.table import printable
from relay.secrets.new import new_secret

TIMEOUT = """
    select set_config('lock_timeout', '5s', true), set_config('statement_timeout', '10s', true)
"""


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


class NameTakenError(ValueError):
    """There is a subscription of that name."""


def taken(name: object) -> str:
    """What NameTakenError says."""
    return f"there is a subscription {name} already, in this or another case"


SUBSCRIBE = """
    select subscription_id, secret from outbox.subscribe(%s, %s, %s, %s, %s, sealed => %s)
"""
READ_ALL = "update outbox.subscription set channels = %s where id = %s"


def add(
    connection: Connection,
    name: str,
    *,
    channels: Sequence[str],
    endpoint: str,
    types: list[str] | None = None,
    settings: Mapping[str, object],
    keyring: Keyring = UNSEALED,
) -> str:
    """Subscribes an endpoint to what commits from now on in `channels`, of which there is one.

    Returns the secret of its signatures. It is sealed at rest where there is a key.
    `settings` as outbox.http_setting knows them, their paths dotted. Raises NameTakenError, and
    psycopg.errors.CheckViolation where the database refuses a setting.
    """
    made = new_secret(keyring)
    values = (name, channels[0], endpoint, Jsonb(_nested(settings)), types, made.sealed)
    with transaction(connection):
        connection.execute(TIMEOUT)
        try:
            row = connection.execute(SUBSCRIBE, values).fetchone()
        except errors.UniqueViolation as known:
            raise NameTakenError(taken(name)) from known
        assert row is not None
        subscription_id, secret = row
        if channels[1:]:
            # In the same transaction: no relay sees it with the first of them alone.
            connection.execute(READ_ALL, (list(channels), subscription_id))
    return made.shown or str(secret)


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
        merged = Jsonb(_merged(row[3], _nested(settings)))
        try:
            connection.execute(CHANGE, {**columns, **given, "settings": merged, "was": name})
        except errors.UniqueViolation as known:
            raise NameTakenError(taken(given["name"])) from known


def _merged(stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(stored)
    for name, value in given.items():
        before = result.pop(name, None)
        if isinstance(value, dict):
            value = _merged(before if isinstance(before, dict) else {}, value) or None
        if value is not None:
            result[name] = value
    return result


def _nested(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings by their dotted paths, as the table has them."""
    result: dict[str, Any] = {}
    for path, value in settings.items():
        group, dot, key = path.partition(".")
        part = result.setdefault(group, {}) if dot else None
        if isinstance(part, dict):
            part[key] = value
        elif part is None:
            result[group] = value
        # Else the group itself was set to what is no object, and the database says so.
    return result


PAUSE = """
    update outbox.subscription set paused = %s, paused_reason = %s where name = %s returning true
"""


def pause(connection: Connection, name: str, reason: str | None) -> None:
    """Nothing more is sent, and nothing is dropped: its backlog stays in the log.

    Raises NotFoundError.
    """
    _set_paused(connection, name, paused=True, reason=reason)


def resume(connection: Connection, name: str) -> None:
    """It goes on where it stood, an endpoint with a closed breaker. Raises NotFoundError."""
    _set_paused(connection, name, paused=False, reason=None)


def _set_paused(connection: Connection, name: str, *, paused: bool, reason: str | None) -> None:
    with transaction(connection):
        connection.execute(TIMEOUT)
        if connection.execute(PAUSE, (paused, reason, name)).fetchone() is None:
            raise NotFoundError(f"there is no subscription {name}")


# It waits for runs, and looks through what is unread for as long as 20 s.
DELETE_TIMEOUT: LiteralString = """
    select set_config('lock_timeout', '30s', true), set_config('statement_timeout', '60s', true)
"""
DELETE = "select outbox.delete_subscription(%s, %s)"


class UndeliveredError(ValueError):
    """A subscription still has something to deliver; says what, how many, and what to do."""


def delete(connection: Connection, name: str, *, discard_undelivered: bool) -> None:
    """Ends it. Raises NotFoundError; UndeliveredError unless what is undelivered is to be lost."""
    try:
        with transaction(connection):
            connection.execute(DELETE_TIMEOUT)
            connection.execute(DELETE, (name, discard_undelivered))
    except errors.NoDataFound as unknown:
        raise NotFoundError(f"there is no subscription {name}") from unknown
    except errors.DependentObjectsStillExist as obstacle:
        raise UndeliveredError(
            f"{obstacle.diag.message_primary}: let them arrive, dead letters by a redrive, or lose "
            "them with --discard-undelivered"
        ) from obstacle
