"""PATCH /v1/subscriptions/{id}."""

from typing import LiteralString

import msgspec
from msgspec import UNSET, UnsetType
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import fields_of, note
from service.platform.fields import ChannelId, EndpointUrl, EventTypes, SubscriptionName
from service.platform.permission import is_there, no_subscription, require_channel, require_http
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import EndpointSettings
from service.platform.subscriptions.refusal import refused
from service.platform.subscriptions.view import Subscription, find
from service.problems import Problem
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery


class SubscriptionChange(EndpointSettings, frozen=True, kw_only=True, rename="camel"):
    """A JSON merge patch (RFC 7396): what is left out stays, null is the default again."""

    channel_id: ChannelId | UnsetType = UNSET
    endpoint: EndpointUrl | UnsetType = UNSET
    name: SubscriptionName | UnsetType = UNSET
    types: EventTypes | UnsetType | None = UNSET


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
        await note(transaction, call, "subscription.change", call.id, fields_of(call.body))
        return await find(transaction, call.caller, call.id)

    try:
        return await call.database.run(work)
    except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
        raise refused(error) from None


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
        "settings": msgspec.json.encode(
            endpoint_settings.merged(msgspec.json.decode(locked.settings), given)
        ).decode(),
    }
