"""What a key may do with which channels and subscriptions.

To a key that is limited to channels there are no subscriptions but those that read nothing else,
and never have: what is left of a former channel would be shown with them.
"""

from typing import LiteralString, Protocol

import msgspec

from service.database.transaction import Transaction
from service.problems import Problem
from service.web.access.authorization import Caller, lacking_scope
from service.web.access.keys import Scope

# What the document says of an operation whose scope depends on the kind, see `require_scope`.
BY_KIND = ": `operate` where the subscription is of kind kafka, else `manage`"


def require_channel(caller: Caller, channel: str, field: str) -> None:
    """Raises Problem 403 where the key is limited to other channels; `field` names this one."""
    if not caller.may_use(channel):
        limits = ", ".join(caller.channels or ())
        detail = f"{field} is beyond this key; it is limited to the channels {limits}."
        raise Problem(403, detail, field=field)


def require_scope(caller: Caller, kind: str) -> None:
    """Raises Problem 403 where subscriptions of this kind are not the key's to pause or replay."""
    scope: Scope = "manage" if kind == "http" else "operate"
    if scope not in caller.scopes:
        raise lacking_scope(caller, f"{scope}, since the subscription is of kind {kind}")


class Reads(Protocol):
    """Which channels a subscription reads, and which it has ever read; None: all."""

    @property
    def channels(self) -> list[str] | None: ...

    @property
    def read_channels(self) -> list[str] | None: ...


def is_there(caller: Caller, subscription: Reads) -> bool:
    """Whether there is such a subscription for this caller. `visible` says the same in SQL."""
    return caller.may_see(subscription.channels) and caller.may_see(subscription.read_channels)


class Target(msgspec.Struct, frozen=True):
    """What decides what a key may do with a subscription."""

    kind: str
    channels: list[str] | None
    read_channels: list[str] | None
    is_connector: bool
    made_by: str | None


TARGET: LiteralString = """
    select kind, channels, read_channels, outbox.other_cluster(settings) <> '' as is_connector,
           made_by
    from outbox.subscription where id = %(id)s
"""


async def kind_of(transaction: Transaction, caller: Caller, subscription_id: int) -> str:
    """The kind of a subscription; Problem 404 if there is none for this caller."""
    return (await _target(transaction, caller, subscription_id)).kind


async def require_operable(transaction: Transaction, caller: Caller, subscription_id: int) -> None:
    """Raises Problem where it is not the caller's to pause, replay or redrive.

    404 where there is none for this caller, 403 where its kind takes another scope, and where it is
    a connector that a key of another name made.
    """
    target = await _target(transaction, caller, subscription_id)
    require_scope(caller, target.kind)
    require_maker(caller, target)


async def _target(transaction: Transaction, caller: Caller, subscription_id: int) -> Target:
    found = await transaction.one(Target, TARGET, {"id": subscription_id})
    if found is None or not is_there(caller, found):
        raise no_subscription()
    return found


class Made(Protocol):
    """Whether it is a connector, and the name of the limited key that made it, if one did."""

    @property
    def is_connector(self) -> bool | None: ...

    @property
    def made_by(self) -> str | None: ...


def require_maker(caller: Caller, subscription: Made) -> None:
    """Raises Problem 403 where a limited key meets a connector that it did not make.

    Others may lead with a credential, or to a topic that is beyond this key.
    """
    if caller.channels is None or not subscription.is_connector:
        return
    if subscription.made_by != caller.name:
        detail = (
            "A key that is limited to channels changes and operates the connectors that keys of "
            "its own name made, and no others."
        )
        raise Problem(403, detail)


async def require_http(transaction: Transaction, caller: Caller, subscription_id: int) -> None:
    """Raises Problem: 404 where there is no subscription, 409 where it is not of kind http."""
    kind = await kind_of(transaction, caller, subscription_id)
    if kind != "http":
        raise Problem(409, f"The subscription is of kind {kind}; only http ones do that.")


# Said where what messages hold, or endpoints answered, is left out.
WITHHELD = "Left out: it takes a key with the scope payloads."


def may_see_payloads(caller: Caller) -> bool:
    """Whether what messages hold and endpoints answered is shown to this key."""
    return "payloads" in caller.scopes


VISIBLE: LiteralString = """
    select array(
        select id from outbox.subscription
        where cardinality(channels) > 0 and read_channels is not null
          and not exists (
              select from unnest(read_channels) as channel
              where not outbox.channel_allowed(channel, %(channels)s)))
"""


async def visible(transaction: Transaction, caller: Caller) -> list[int] | None:
    """The ids of the subscriptions that the caller may see; None: all."""
    if caller.channels is None:
        return None
    return await transaction.value(list, VISIBLE, {"channels": caller.channels})


def no_subscription() -> Problem:
    """404, whether there is none or none for this caller."""
    return Problem(404, "The subscription does not exist.")
