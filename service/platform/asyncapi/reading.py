"""GET /v1/asyncapi.json, and the documents that were made for it."""

from typing import Annotated
from weakref import WeakKeyDictionary

import msgspec
from msgspec import Meta

from service.computing import Computing
from service.database.pool import Database
from service.database.transaction import Transaction
from service.platform.asyncapi import described
from service.platform.asyncapi.described import Described, Route
from service.platform.asyncapi.document import encoded
from service.settings import Settings
from service.web.access.authorization import Caller
from service.web.operations.operation import Call, Reply

# Documents of one database that are kept: that of everybody, and those of a few keys or channels.
MAX_KEPT = 4


class AsyncApiQuery(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Of which channel; without it of all."""

    channel_id: (
        Annotated[
            str,
            Meta(pattern=r"^[A-Za-z0-9._\-]{1,200}\Z", description="This channel's types alone."),
        ]
        | None
    ) = None


async def read_document(call: Call[None, AsyncApiQuery]) -> Reply:
    """The event types as an AsyncAPI 3.0 document, of all channels or of one."""
    return Reply(
        await document_for(
            call.database, call.computing, call.settings, call.caller, call.query.channel_id
        )
    )


# Whom a document is for, and the catalogue and the subscriptions that it was made of.
Key = tuple[tuple[str, ...] | None, str | None]
Made = tuple[str, list[Route]]

_kept: WeakKeyDictionary[Database, dict[Key, tuple[Made, bytes]]] = WeakKeyDictionary()


async def document_for(
    database: Database,
    computing: Computing,
    settings: Settings,
    caller: Caller,
    channel: str | None = None,
) -> bytes:
    """The document for a caller as JSON. It is made anew only where something of it has changed."""
    limited = caller.channels
    key: Key = None if limited is None else tuple(limited), channel
    kept = _kept.setdefault(database, {})

    async def work(transaction: Transaction) -> tuple[Made, bytes | Described]:
        made = (
            await described.mark(transaction, limited, channel),
            await described.routes(transaction),
        )
        if key in kept and kept[key][0] == made:
            return kept[key]
        types = await described.types(transaction, limited, channel)
        return made, Described(types, made[1])

    # Whoever waits for a turn holds nothing of it.
    async with computing.task():
        made, found = await database.walk(work)
        if isinstance(found, bytes):
            return found
        content = await computing.run(encoded, found, settings)
    kept.pop(key, None)
    if len(kept) >= MAX_KEPT:
        del kept[next(iter(kept))]
    kept[key] = made, content
    return content
