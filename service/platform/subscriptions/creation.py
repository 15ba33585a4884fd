"""POST /v1/subscriptions: an endpoint gets what is published to a channel from now on."""

from typing import Annotated, LiteralString

import msgspec
from msgspec import Meta
from psycopg import errors as sqlstates

from service.database.transaction import Transaction
from service.platform.audit import fields_of, note
from service.platform.fields import ChannelId, EndpointUrl, EventTypes, SubscriptionName
from service.platform.permission import require_channel
from service.platform.subscriptions import endpoint_settings
from service.platform.subscriptions.endpoint_settings import EndpointSettings
from service.platform.subscriptions.refusal import refused
from service.platform.subscriptions.view import Subscription, find
from service.secret_keys import new_secret
from service.web.operations.operation import Call, Reply
from service.web.operations.query import NoQuery

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
    types: EventTypes | None = None
    shards: Shards = 1


class NewSubscription(Subscription, frozen=True, kw_only=True, rename="camel"):
    """With the secret of its signatures, which is shown nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return f"NewSubscription(id={self.id!r})"


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
        "settings": msgspec.json.encode(
            endpoint_settings.merged({}, endpoint_settings.given(form))
        ).decode(),
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
        await note(transaction, call, "subscription.create", made.subscription_id, fields_of(form))
        return NewSubscription(**msgspec.structs.asdict(shown), secret=secret)

    try:
        created = await call.database.run(work)
    except (sqlstates.UniqueViolation, sqlstates.CheckViolation) as error:
        raise refused(error) from None
    return Reply(created, {"Location": f"/v1/subscriptions/{created.id}"})
