"""Connectors that take in what a topic or a queue holds: rows of outbox.source.

They are there for keys that are not limited to channels: what a topic holds is nobody's channel.
"""

from datetime import datetime
from typing import Any, Literal, LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction
from service.platform.connectors.config import DEFAULT_DELIVERY, merged
from service.problems import Problem
from service.web.access.authorization import Caller, lacking_scope


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """As SQL has it."""

    id: int
    name: str
    kind: Literal["kafka", "sqs"]
    channel: str
    priority: int
    settings: str
    paused: bool
    paused_reason: str | None
    waiting_since: datetime | None
    waiting_reason: str | None
    created_at: datetime
    lag: int
    entered: int
    dead_letters: int


READ: LiteralString = """
    select source.id, source.name, source.kind, source.channel, source.priority,
           source.settings::text as settings, source.paused, source.paused_reason,
           source.waiting_since, source.waiting_reason, source.created_at,
           state.lag, state.entered, state.dead_letters
    from outbox.source join outbox.source_state as state on state.id = source.id
    where source.id between %(first)s and %(last)s
    order by source.id limit %(rows)s
"""
CONNECT_IN: LiteralString = """
    select outbox.connect_in(%(name)s, %(channel)s, %(type)s, %(config)s::jsonb, %(priority)s)
"""
PAUSE: LiteralString = """
    update outbox.source set paused = true, paused_reason = %(reason)s
    where id = %(id)s and not paused
"""
RESUME: LiteralString = """
    update outbox.source set paused = false, paused_reason = null where id = %(id)s and paused
"""
SEEK: LiteralString = "select outbox.seek_source(%(id)s, %(start)s)"
DELETE: LiteralString = "select outbox.end_source(%(id)s)"


async def read(
    transaction: Transaction, caller: Caller, first: int, last: int, rows: int
) -> list[Source]:
    """Those of these ids; none for a caller that is limited to channels."""
    if caller.channels is not None:
        return []
    return await transaction.all(Source, READ, {"first": first, "last": last, "rows": rows})


def require_any(caller: Caller) -> None:
    """Raises Problem where inward connectors are not the caller's to make or to change."""
    if "operate" not in caller.scopes:
        raise lacking_scope(caller, "operate")
    if caller.channels is not None:
        detail = "direction in is beyond this key; it is limited to channels."
        raise Problem(403, detail, field="direction")


def _require_publisher(caller: Caller) -> None:
    """What comes in is published, so the key must be one that may."""
    require_any(caller)
    if "publish" not in caller.scopes:
        raise lacking_scope(caller, "publish besides, since what comes in is published")


async def create(transaction: Transaction, caller: Caller, parameters: dict[str, Any]) -> int:
    """Lets what a topic or a queue holds enter a channel; the id of the connector."""
    _require_publisher(caller)
    made = await transaction.value(int, CONNECT_IN, parameters)
    assert made is not None
    return made


LOCK: LiteralString = """
    select name, settings::text as settings
    from outbox.source where id = %(id)s for no key update
"""
CHANGE: LiteralString = """
    update outbox.source set name = %(name)s, settings = %(settings)s::jsonb where id = %(id)s
"""


class Locked(msgspec.Struct, frozen=True):
    """What of it is about to change."""

    name: str
    settings: str


async def change(
    transaction: Transaction,
    caller: Caller,
    source_id: int,
    name: str | None,
    config: msgspec.Struct | UnsetType,
) -> None:
    """Another name, where one is given, and what `config` says; what it leaves out stays.

    Relays go on with it where they stand.
    """
    _require_publisher(caller)
    locked = await transaction.one(Locked, LOCK, {"id": source_id})
    if locked is None:
        return
    settings = msgspec.json.decode(locked.settings)
    if config is not UNSET:
        settings, _ = merged(settings, DEFAULT_DELIVERY, config)
    parameters = {
        "id": source_id,
        "name": locked.name if name is None else name,
        "settings": msgspec.json.encode(settings).decode(),
    }
    await transaction.execute(CHANGE, parameters)


async def pause(transaction: Transaction, caller: Caller, source_id: int) -> None:
    """Nothing enters any more. Again does nothing."""
    require_any(caller)
    reason = f"by the API key {caller.name}"
    await transaction.execute(PAUSE, {"id": source_id, "reason": reason})


async def resume(transaction: Transaction, caller: Caller, source_id: int) -> None:
    """It goes on where it stood. Again does nothing."""
    require_any(caller)
    await transaction.execute(RESUME, {"id": source_id})


async def seek(transaction: Transaction, caller: Caller, source_id: int, start: str) -> None:
    """It begins anew, and goes on."""
    require_any(caller)
    await transaction.execute(SEEK, {"id": source_id, "start": start})


async def delete(transaction: Transaction, caller: Caller, source_id: int) -> None:
    """Ends it, with its positions and dead letters."""
    require_any(caller)
    await transaction.execute(DELETE, {"id": source_id})
