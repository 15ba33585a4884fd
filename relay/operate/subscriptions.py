"""Subscriptions, for operators: who gets what and how that goes; making one, pausing, testing."""

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
from relay.operate.table import table
from relay.secrets.new import new_secret

TIMEOUT = """
    select set_config('lock_timeout', '5s', true), set_config('statement_timeout', '10s', true)
"""


class Subscription(msgspec.Struct, frozen=True):
    """One subscription. Of an endpoint's address no path is told: it may hold a token.

    `breaker` is NULL but for endpoints: closed, failing, open (until `breaker_retry_at`) or
    half-open. The last four count the rows of messages that a run did not confirm.
    """

    name: str
    kind: str
    channels: list[str] | None
    types: list[str] | None
    delivery: str
    endpoint: str | None
    paused: bool
    paused_reason: str | None
    breaker: str | None
    breaker_retry_at: datetime | None
    backlog: int
    more: bool
    retrying: int
    in_flight: int
    behind: int
    parked: int


SUBSCRIPTIONS = """
    select subscription.name, kind, channels, types, delivery,
           target.origin || case when target.has_path then '…' else '' end as endpoint,
           paused, paused_reason,
           case when kind = 'http' and breaker.state is null then 'closed'
                when breaker.state = 'closed' then 'failing'
                else breaker.state end as breaker,
           breaker.retry_at as breaker_retry_at,
           coalesce(backlog.messages, 0)::bigint as backlog, coalesce(backlog.more, false) as more,
           coalesce(retrying, 0) as retrying, coalesce(in_flight, 0) as in_flight,
           coalesce(behind, 0) as behind, coalesce(parked, 0) as parked
    from outbox.subscription
    left join outbox.subscription_endpoint as target on target.subscription = subscription.name
    left join outbox.breaker_state as breaker on breaker.subscription = subscription.name
    left join outbox.delivery_summary as rows on rows.subscription = subscription.name
    left join (
        select subscription as name, sum(messages) as messages, bool_or(more) as more
        from outbox.subscription_backlog group by subscription
    ) as backlog on backlog.name = subscription.name
    order by subscription.name
"""


def read(connection: Connection) -> list[Subscription]:
    """All of them, by name. Raises psycopg.Error."""
    with transaction(connection), connection.cursor(row_factory=class_row(Subscription)) as cursor:
        cursor.execute(TIMEOUT)
        return cursor.execute(SUBSCRIPTIONS).fetchall()


def render(subscriptions: Sequence[Subscription]) -> str:
    """The list for people."""
    return table(
        (
            "name",
            "kind",
            "channels",
            "types",
            "to",
            "backlog",
            "retrying",
            "in flight",
            "behind",
            "parked",
            "breaker",
            "",
        ),
        [
            (
                one.name,
                one.kind,
                "all" if one.channels is None else " ".join(one.channels),
                "all" if one.types is None else " ".join(one.types),
                one.endpoint or one.delivery.replace("_", " "),
                f"{one.backlog}{'+' if one.more else ''}",
                one.retrying,
                one.in_flight,
                one.behind,
                one.parked,
                _breaker(one),
                f"paused: {one.paused_reason or 'no reason given'}" if one.paused else "",
            )
            for one in subscriptions
        ],
    )


def _breaker(one: Subscription) -> str | None:
    if one.breaker != "open" or one.breaker_retry_at is None:
        return one.breaker
    return f"open until {one.breaker_retry_at.isoformat(sep=' ', timespec='seconds')}"


PAUSE = """
    update outbox.subscription set paused = %s, paused_reason = %s where name = %s returning true
"""


def pause(connection: Connection, name: str, reason: str | None) -> None:
    """Nothing more is sent, and nothing is dropped: its backlog stays in the log.

    Raises NotFoundError.
    """
    _change(connection, name, paused=True, reason=reason)


def resume(connection: Connection, name: str) -> None:
    """It goes on where it stood, an endpoint with a closed breaker. Raises NotFoundError."""
    _change(connection, name, paused=False, reason=None)


def _change(connection: Connection, name: str, *, paused: bool, reason: str | None) -> None:
    with transaction(connection):
        connection.execute(TIMEOUT)
        if connection.execute(PAUSE, (paused, reason, name)).fetchone() is None:
            raise NotFoundError(f"there is no subscription {name}")


def send_test(connection: Connection, name: str) -> int:
    """Queues one message for this endpoint alone; its id. Raises NotFoundError."""
    return int(_of_http(connection, SEND_TEST, name))


def rotate_secret(
    connection: Connection,
    name: str,
    *,
    revoke_old: str = "after_a_day",
    keyring: Keyring = UNSEALED,
) -> str:
    """A new secret, `whsec_…`. The old one serves for a day more, or with 'now' no longer.

    Sealed at rest where there is a key. Raises NotFoundError.
    """
    made = new_secret(keyring)
    returned = _of_http(connection, ROTATE_SECRET, name, revoke_old, made.sealed)
    return made.shown or str(returned)


HTTP = "select id from outbox.subscription where name = %s and kind = 'http'"
SEND_TEST = "select outbox.send_test(%s)"
ROTATE_SECRET = "select outbox.rotate_secret(%s, %s, %s)"


def _of_http(connection: Connection, statement: LiteralString, name: str, *more: object) -> Any:
    with transaction(connection):
        connection.execute(TIMEOUT)
        found = connection.execute(HTTP, (name,)).fetchone()
        if found is None:
            raise NotFoundError(f"there is no http subscription {name}")
        row = connection.execute(statement, (*found, *more)).fetchone()
    return row[0] if row else None


class NameTakenError(ValueError):
    """There is a subscription of that name."""


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
    values = (name, channels[0], endpoint, Jsonb(nested(settings)), types, made.sealed)
    with transaction(connection):
        connection.execute(TIMEOUT)
        try:
            row = connection.execute(SUBSCRIBE, values).fetchone()
        except errors.UniqueViolation as taken:
            raise NameTakenError(f"there is a subscription {name} already") from taken
        assert row is not None
        subscription_id, secret = row
        if channels[1:]:
            # In the same transaction: no relay sees it with the first of them alone.
            connection.execute(READ_ALL, (list(channels), subscription_id))
    return made.shown or str(secret)


def nested(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings by their dotted paths, as the table has them."""
    nested: dict[str, Any] = {}
    for path, value in settings.items():
        group, dot, key = path.partition(".")
        part = nested.setdefault(group, {}) if dot else None
        if isinstance(part, dict):
            part[key] = value
        elif part is None:
            nested[group] = value
        # Else the group itself was set to what is no object, and the database says so.
    return nested
