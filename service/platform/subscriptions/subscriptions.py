"""/v1/subscriptions: which endpoint gets which messages, and how it is served."""

from typing import Annotated, LiteralString

import msgspec
from msgspec import UNSET, Meta, UnsetType
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.fields import ChannelId, EndpointUrl, EventType, SubscriptionName
from service.platform.pages import MAX_ID, Page, PageQuery, page, select
from service.platform.permission import is_there, no_subscription, require_channel, require_http
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import EndpointSettings
from service.platform.subscriptions.subscription import (
    COUNTED_AT_MOST,
    READ,
    Row,
    Subscription,
    find,
    shown,
)
from service.problems import Problem
from service.secret_keys import new_secret
from service.web.operation import Call, Reply
from service.web.query import NoQuery

Types = Annotated[
    list[EventType],
    Meta(min_length=1, max_length=100, description="Only events of these types; null: all."),
]
Shards = Annotated[
    int,
    Meta(
        ge=1,
        le=64,
        description="In how many parts relays may work at once, each group in one of them; "
        "fixed at creation.",
    ),
]


class SubscriptionForm(EndpointSettings, frozen=True, kw_only=True, rename="camel"):
    """A new subscription: it gets what is published from now on."""

    channel_id: ChannelId
    endpoint: EndpointUrl
    name: SubscriptionName
    types: Types | None = None
    shards: Shards = 1


class SubscriptionChange(EndpointSettings, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    channel_id: ChannelId | UnsetType = UNSET
    endpoint: EndpointUrl | UnsetType = UNSET
    name: SubscriptionName | UnsetType = UNSET
    types: Types | UnsetType | None = UNSET


class NewSubscription(Subscription, frozen=True, kw_only=True, rename="camel"):
    """With the secret of its signatures, which is shown nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return f"NewSubscription(id={self.id!r})"


class DeleteQuery(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """What is not delivered stands in the way of a DELETE unless it is to be lost."""

    discard_undelivered: bool = False


# It waits for runs, and takes row by row with it what was never delivered.
DELETE_TIMEOUT_SECONDS = 60.0


async def list_subscriptions(call: Call[None, PageQuery]) -> Page[Subscription]:
    """All subscriptions, by id; endpoints without path and query unless the key may manage."""
    after, _ = call.query.place() or (0, 0)
    parameters = {
        "first": after + 1,
        "last": MAX_ID,
        "rows": call.query.limit + 1,
        "count": COUNTED_AT_MOST,
    }
    rows = await select(call, Row, READ, parameters)
    items = [shown(row, call.caller) for row in rows]
    return page(items, call.query.limit, lambda item: item.id)


async def read_subscription(call: Call[None, NoQuery]) -> Subscription:
    """One subscription; its endpoint without path and query unless the key may manage."""
    return await call.database.run(lambda transaction: find(transaction, call.caller, call.id))


class Subscribed(msgspec.Struct, frozen=True):
    """What outbox.subscribe returns; without the secret where it got a sealed one."""

    subscription_id: int
    secret: str | None

    def __repr__(self) -> str:
        return f"Subscribed({self.subscription_id})"


SUBSCRIBE: LiteralString = """
    select subscription_id, secret
    from outbox.subscribe(%(name)s, %(channel)s, %(endpoint)s, %(settings)s::jsonb,
                          %(types)s::text[], %(shards)s, %(sealed)s, %(made_by)s)
"""


async def create_subscription(call: Call[SubscriptionForm, NoQuery]) -> Reply:
    """Subscribes an endpoint to a channel, from now on; answers with the signatures' secret."""
    form = call.body
    require_channel(call.caller, form.channel_id, "channelId")
    new = new_secret(call.settings.secret_key)
    parameters = {
        "name": form.name,
        "channel": form.channel_id,
        "endpoint": form.endpoint,
        "settings": _json(endpoint_settings.merged({}, endpoint_settings.given(form))),
        "types": form.types,
        "shards": form.shards,
        "sealed": new.sealed,
        # Keys that are limited have a share of the cursors, by name.
        "made_by": None if call.caller.channels is None else call.caller.name,
    }

    async def work(transaction: Transaction) -> NewSubscription:
        made = await transaction.one(Subscribed, SUBSCRIBE, parameters)
        assert made is not None
        secret = new.shown or made.secret
        assert secret is not None
        shown = await find(transaction, call.caller, made.subscription_id)
        return NewSubscription(**msgspec.structs.asdict(shown), secret=secret)

    try:
        created = await call.database.run(work)
    except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
        raise _refused(error) from None
    return Reply(created, {"Location": f"/v1/subscriptions/{created.id}"})


class Locked(msgspec.Struct, frozen=True):
    """What of a subscription is about to change."""

    name: str
    channels: list[str] | None
    read_channels: list[str] | None
    types: list[str] | None
    settings: str


LOCK: LiteralString = """
    select name, channels, read_channels, types, settings::text as settings
    from outbox.subscription where id = %(id)s for no key update
"""


class Changed(msgspec.Struct, frozen=True):
    """What it reads now, and what it has ever read."""

    channels: list[str] | None
    read_channels: list[str] | None


CHANGE: LiteralString = """
    update outbox.subscription
    set name = %(name)s, channels = %(channels)s::text[], types = %(types)s::text[],
        settings = %(settings)s::jsonb
    where id = %(id)s
    returning channels, read_channels
"""


async def change_subscription(call: Call[SubscriptionChange, NoQuery]) -> Subscription:
    """Changes what the body names; in force within a second or two."""
    if call.body.channel_id is not UNSET:
        require_channel(call.caller, call.body.channel_id, "channelId")

    async def work(transaction: Transaction) -> Subscription:
        await require_http(transaction, call.caller, call.id)
        locked = await transaction.one(Locked, LOCK, {"id": call.id})
        # Its channels may have changed before it was locked.
        if locked is None or not is_there(call.caller, locked):
            raise no_subscription()
        parameters = {"id": call.id, **_changed(locked, call.body)}
        changed = await transaction.one(Changed, CHANGE, parameters)
        assert changed is not None
        if not is_there(call.caller, changed):
            raise _too_many_channels()
        return await find(transaction, call.caller, call.id)

    try:
        return await call.database.run(work)
    except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
        raise _refused(error) from None


def _too_many_channels() -> Problem:
    """What it has read would not be known any more, and it be hidden from every limited key."""
    detail = (
        "The subscription has read 100 channels, and no more are remembered: keep to one of them, "
        "or make a new subscription for this one."
    )
    return Problem(409, detail, field="channelId")


def _changed(locked: Locked, change: SubscriptionChange) -> dict[str, object]:
    given = endpoint_settings.given(change)
    if change.endpoint is not UNSET:
        given["endpoint"] = change.endpoint
    return {
        "name": locked.name if change.name is UNSET else change.name,
        "channels": locked.channels if change.channel_id is UNSET else [change.channel_id],
        "types": locked.types if change.types is UNSET else change.types,
        "settings": _json(endpoint_settings.merged(msgspec.json.decode(locked.settings), given)),
    }


UNSUBSCRIBE: LiteralString = "select outbox.unsubscribe(%(id)s, %(discard)s)"


async def delete_subscription(call: Call[None, DeleteQuery]) -> None:
    """Ends a subscription that has nothing left to deliver, or whose rest is to be lost."""
    parameters = {"id": call.id, "discard": call.query.discard_undelivered}

    async def work(transaction: Transaction) -> None:
        await require_http(transaction, call.caller, call.id)
        await transaction.execute(UNSUBSCRIBE, parameters)

    try:
        await call.database.walk(work, timeout_seconds=DELETE_TIMEOUT_SECONDS)
    except sqlstates.DependentObjectsStillExist as error:
        detail = (
            f"{error.diag.message_primary}: let them arrive, dead letters by a redrive, or lose "
            "them with ?discardUndelivered=true."
        )
        raise Problem(409, detail, field="discardUndelivered") from None


def _refused(error: sqlstates.UniqueViolation | sqlstates.CheckViolation) -> Problem:
    if isinstance(error, sqlstates.UniqueViolation):
        return Problem(409, "Another subscription has this name.", field="name")
    if error.diag.column_name == "settings":
        return endpoint_settings.refused(error.diag.message_primary or "")
    if error.diag.column_name == "shards":
        return Problem(409, f"{error.diag.message_primary}.", field="shards")
    raise error


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
