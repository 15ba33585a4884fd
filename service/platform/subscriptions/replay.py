"""POST /v1/subscriptions/{id}/replay: messages of the log go out again."""

from typing import Any, ClassVar, LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.database.transaction import Transaction
from service.platform.audit import Action, note
from service.platform.fields import Id, Time
from service.platform.permission import kind_of, require_operable
from service.platform.subscriptions.name import lock_name
from service.problems import Problem
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

# It waits for runs, and counting reads the log from there on; at some 500,000 messages/s.
REPLAY_TIMEOUT_SECONDS = 60.0


class ReplayForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """From where on: a time or a message, one of them. `dryRun` only counts."""

    JSON_SCHEMA: ClassVar[dict[str, Any]] = {
        "oneOf": [{"required": ["from"]}, {"required": ["fromMessageId"]}]
    }

    from_: Time | UnsetType = msgspec.field(default=UNSET, name="from")
    from_message_id: Id | UnsetType = UNSET
    dry_run: bool = False


class Replayed(msgspec.Struct, frozen=True, rename="camel"):
    """How many messages come (again)."""

    messages: int
    dry_run: bool


# By priority: the indexes of the log begin with it. What is beyond the caller's key is not there.
EXISTS: LiteralString = """
    select exists (
        select from generate_series(1, 5) as class
        cross join lateral (
            select channel from outbox.message
            where priority::integer = class and id + 0 = %(from_message_id)s
        ) as message
        where %(channels)s::text[] is null or outbox.channel_allowed(channel, %(channels)s)
    )
"""
REPLAY: LiteralString = """
    select outbox.replay(%(name)s, %(from)s, %(from_message_id)s, %(dry_run)s)
"""


async def replay(
    call: Call[ReplayForm, NoQuery], action: Action = "subscription.replay"
) -> Replayed:
    """Sends what was published since then again, in order and marked as replayed, or counts it."""
    form = call.body
    if (form.from_ is UNSET) == (form.from_message_id is UNSET):
        raise Problem(422, "Give from or fromMessageId, one of them.", field="from")
    parameters = {
        "from": None if form.from_ is UNSET else form.from_,
        "from_message_id": None if form.from_message_id is UNSET else int(form.from_message_id),
        "dry_run": form.dry_run,
        "channels": call.caller.channels,
    }

    async def work(transaction: Transaction) -> int:
        await require_operable(transaction, call.caller, call.id)
        name = await lock_name(transaction, call.id)
        if form.from_message_id is not UNSET and not await transaction.value(
            bool, EXISTS, parameters
        ):
            detail = f"The log has no message {form.from_message_id}; it may be past retention."
            raise Problem(422, detail, field="fromMessageId")
        messages = await transaction.value(int, REPLAY, {**parameters, "name": name})
        assert messages is not None
        # It may have been moved to another channel before that was counted.
        await kind_of(transaction, call.caller, call.id)
        if not form.dry_run:
            await note(transaction, call, action, call.id, f"{messages} messages {_begin(form)}")
        return messages

    messages = await call.database.walk(work, timeout_seconds=REPLAY_TIMEOUT_SECONDS)
    return Replayed(messages, form.dry_run)


def _begin(form: ReplayForm) -> str:
    if form.from_message_id is not UNSET:
        return f"from message {form.from_message_id}"
    return f"from {form.from_}"
