"""POST /v1/dead-letters/redrive: sending again what was given up."""

from typing import Annotated, Any, ClassVar, LiteralString

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.database.transaction import Transaction
from service.platform.audit import note
from service.platform.fields import EventType, Id, Reason, Time
from service.platform.permission import (
    is_there,
    kind_of,
    require_maker,
    require_operable,
    require_scope,
)
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

MAX_REDRIVEN = 10_000
# Where outbox.send_test publishes, for any subscription.
TEST_CHANNEL = "outbox.test"


class Redrive(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Which dead letters: `ids`, or those of a subscription, further narrowed down."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [
            {"required": ["ids"], "maxProperties": 1},
            {"required": ["subscriptionId"], "properties": {"ids": False}},
        ]
    }

    ids: Annotated[list[Id], Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    subscription_id: Id | UnsetType = UNSET
    type: EventType | None = None
    reason: Reason | None = None
    from_: Time | None = msgspec.field(default=None, name="from")
    to: Time | None = None


class Redriven(msgspec.Struct, frozen=True):
    """How many go again; `more` fit than one request redrives."""

    redriven: int
    more: bool


# In the order of their messages, so that a part of a group's dead letters is its first part.
REDRIVE: LiteralString = """
    with chosen as materialized (
        select array(
            select dead_letter.id from outbox.dead_letter
            where dead_letter.subscription_id = %(subscription_id)s
              and dead_letter.redriven_at is null
              and (%(type)s::text is null or dead_letter.type = %(type)s)
              and (%(reason)s::text is null or dead_letter.reason = %(reason)s)
              and (%(channels)s::text[] is null or dead_letter.channel = 'outbox.test'
                   or outbox.channel_allowed(dead_letter.channel, %(channels)s))
              and (%(from)s::timestamptz is null or dead_letter.died_at >= %(from)s)
              and (%(to)s::timestamptz is null or dead_letter.died_at < %(to)s)
            order by dead_letter.message_id
            limit %(at_most)s + 1) as ids
    )
    select outbox.redrive(ids[1:%(at_most)s]) as redriven, cardinality(ids) > %(at_most)s as more
    from chosen
"""
REDRIVE_THESE: LiteralString = "select outbox.redrive(%(ids)s::bigint[]) as redriven, false as more"


class Owner(msgspec.Struct, frozen=True):
    """A dead letter's channel and subscription; all is NULL where there is none of that id."""

    id: str
    channel: str | None
    kind: str | None
    channels: list[str] | None
    read_channels: list[str] | None
    is_connector: bool | None
    made_by: str | None
    subscription_id: int | None


OWNERS: LiteralString = """
    select wanted::text as id, dead_letter.channel, s.kind, s.channels, s.read_channels,
           outbox.other_cluster(s.settings) <> '' as is_connector, s.made_by,
           s.id as subscription_id
    from unnest(%(ids)s::bigint[]) as wanted
    left join outbox.dead_letter on dead_letter.id = wanted
    left join outbox.subscription as s on s.id = dead_letter.subscription_id
"""


async def _require_dead_letters(
    transaction: Transaction, caller: Caller, parameters: dict[str, object]
) -> set[int]:
    """The subscriptions that they are of.

    Raises Problem: 422 for one that is not there for the caller, 403 as `redrive`.
    """
    owners = await transaction.all(Owner, OWNERS, parameters)
    for owner in owners:
        if owner.kind is None or owner.channel is None or not _may_see(caller, owner):
            raise _unknown("dead letter", owner.id, "ids")
    for kind in {owner.kind for owner in owners if owner.kind is not None}:
        require_scope(caller, kind)
    for owner in owners:
        require_maker(caller, owner)
    return {owner.subscription_id for owner in owners if owner.subscription_id is not None}


def _may_see(caller: Caller, owner: Owner) -> bool:
    seen = owner.channel or ""
    return is_there(caller, owner) and (seen == TEST_CHANNEL or caller.may_use(seen))


async def _require_subscription(
    transaction: Transaction, caller: Caller, subscription_id: str
) -> None:
    """Raises Problem: 422 for a subscription that is not there for the caller, 403 as `redrive`."""
    try:
        await kind_of(transaction, caller, int(subscription_id))
    except Problem:
        raise _unknown("subscription", subscription_id, "subscriptionId") from None
    await require_operable(transaction, caller, int(subscription_id))


def _unknown(noun: str, written_id: str, field: str) -> Problem:
    return Problem(422, f"There is no {noun} {written_id}, and nothing was redriven.", field=field)


async def redrive(call: Call[Redrive, NoQuery]) -> Redriven:
    """Sends dead letters again, in order and with their idempotency keys; again adds none."""
    form = call.body
    if (form.ids is UNSET) == (form.subscription_id is UNSET):
        raise Problem(422, "Give ids or subscriptionId, one of them.", field="ids")
    if form.ids is not UNSET:
        narrowing = {"type": form.type, "reason": form.reason, "from": form.from_, "to": form.to}
        for name, value in narrowing.items():
            if value is not None:
                raise Problem(422, f"{name} narrows down subscriptionId, not ids.", field=name)

    async def work(transaction: Transaction) -> Redriven:
        if form.subscription_id is UNSET:
            assert form.ids is not UNSET
            statement = REDRIVE_THESE
            parameters: dict[str, object] = {"ids": [int(written) for written in form.ids]}
            of = await _require_dead_letters(transaction, call.caller, parameters)
            these = f": {', '.join(form.ids)}"
        else:
            statement = REDRIVE
            parameters = {
                "subscription_id": int(form.subscription_id),
                "type": form.type,
                "reason": form.reason,
                "from": form.from_,
                "to": form.to,
                "channels": call.caller.channels,
                "at_most": MAX_REDRIVEN,
            }
            await _require_subscription(transaction, call.caller, form.subscription_id)
            of, these = {int(form.subscription_id)}, ""
        done = await transaction.one(Redriven, statement, parameters)
        assert done is not None
        subject = of.pop() if len(of) == 1 else "several subscriptions"
        detail = f"{done.redriven} redriven{these}"
        await note(transaction, call, "dead_letter.redrive", subject, detail)
        return done

    return await call.database.run(work)
