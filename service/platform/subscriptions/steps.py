"""POST /v1/subscriptions/{id}/…: pause, resume, rotate-secret, replay, retry, test."""

from typing import Literal, LiteralString

import msgspec
from msgspec import UNSET, UnsetType

from service.database import Transaction
from service.platform.fields import GroupKey, Id, Time
from service.platform.permission import kind_of, no_subscription, require_http, require_scope
from service.platform.subscriptions.subscription import Subscription, find
from service.problems import Problem
from service.secret_keys import new_secret
from service.web.operation import Call, NoQuery

# It waits for runs, and counting reads the log from there on; at some 500,000 messages/s.
REPLAY_TIMEOUT_SECONDS = 60.0


class Secret(msgspec.Struct, frozen=True):
    """`whsec_` and base64; shown here and nowhere else."""

    secret: str

    def __repr__(self) -> str:
        return "Secret()"


class RotationForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """How long the secrets before the new one serve: no longer, or for a day more."""

    revoke_old: Literal["now", "after_a_day"] = "after_a_day"


class ReplayForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """From where on: a time or a message, one of them. `dryRun` only counts."""

    from_: Time | UnsetType = msgspec.field(default=UNSET, name="from")
    from_message_id: Id | UnsetType = UNSET
    dry_run: bool = False


class Replayed(msgspec.Struct, frozen=True, rename="camel"):
    """How many messages come (again)."""

    messages: int
    dry_run: bool


class RetryForm(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True
):
    """Of one group alone, or without it of all."""

    group_key: GroupKey | UnsetType = UNSET


class Retried(msgspec.Struct, frozen=True):
    """How many messages go now, counted up to a million; those behind in their groups follow."""

    messages: int


class Sent(msgspec.Struct, frozen=True, rename="camel"):
    """A message that is on its way."""

    message_id: Id


PAUSE: LiteralString = """
    update outbox.subscription set paused = true, paused_reason = %(reason)s
    where id = %(id)s and not paused
"""


async def pause(call: Call[None, NoQuery]) -> Subscription:
    """Holds everything from now on; nothing is dropped. Again does nothing."""
    reason = f"by the API key {call.caller.name}"

    async def work(transaction: Transaction) -> Subscription:
        require_scope(call.caller, await kind_of(transaction, call.caller, call.id))
        await transaction.execute(PAUSE, {"id": call.id, "reason": reason})
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


RESUME: LiteralString = """
    update outbox.subscription set paused = false, paused_reason = null
    where id = %(id)s and paused
"""


async def resume(call: Call[None, NoQuery]) -> Subscription:
    """Goes on where it was paused or disabled, in order. Again does nothing."""

    async def work(transaction: Transaction) -> Subscription:
        require_scope(call.caller, await kind_of(transaction, call.caller, call.id))
        await transaction.execute(RESUME, {"id": call.id})
        return await find(transaction, call.caller, call.id)

    return await call.database.run(work)


class Rotated(msgspec.Struct, frozen=True):
    """What outbox.rotate_secret returns; None where it got a sealed one."""

    secret: str | None

    def __repr__(self) -> str:
        return "Rotated()"


ROTATE: LiteralString = """
    select outbox.rotate_secret(%(id)s, %(revoke_old)s, %(sealed)s) as secret
"""


async def rotate_secret(call: Call[RotationForm, NoQuery]) -> Secret:
    """A new secret; for a day requests are signed with those before it as well, unless revoked."""
    made = new_secret(call.settings.secret_key)
    parameters = {"id": call.id, "revoke_old": call.body.revoke_old, "sealed": made.sealed}

    async def work(transaction: Transaction) -> Secret:
        await require_http(transaction, call.caller, call.id)
        rotated = await (await transaction.select(Rotated, ROTATE, parameters)).fetchone()
        shown = made.shown or (rotated.secret if rotated else None)
        assert shown is not None
        return Secret(shown)

    return await call.database.run(work)


class Named(msgspec.Struct, frozen=True):
    """By which name the functions of the database know a subscription."""

    name: str


# KEY SHARE makes a rename and a delete wait, but nothing that a run does: replay waits for runs.
NAME: LiteralString = "select name from outbox.subscription where id = %(id)s for key share"
RETRY: LiteralString = "select outbox.retry(%(name)s, %(group_key)s) as messages"


async def retry(call: Call[RetryForm, NoQuery]) -> Retried:
    """Makes due what waits for its next attempt, in order: for an endpoint that is mended."""
    group_key = None if call.body.group_key is UNSET else call.body.group_key

    async def work(transaction: Transaction) -> Retried:
        await require_http(transaction, call.caller, call.id)
        named = await (await transaction.select(Named, NAME, {"id": call.id})).fetchone()
        if named is None:
            raise no_subscription()
        parameters = {"name": named.name, "group_key": group_key}
        retried = await (await transaction.select(Retried, RETRY, parameters)).fetchone()
        assert retried is not None
        return retried

    return await call.database.run(work)


class Count(msgspec.Struct, frozen=True):
    """What outbox.replay returns."""

    messages: int


class Exists(msgspec.Struct, frozen=True):
    """Whether the log has a message."""

    found: bool


# By priority: the indexes of the log begin with it. What is beyond the caller's key is not there.
EXISTS: LiteralString = """
    select exists (
        select from generate_series(1, 5) as class
        cross join lateral (
            select channel from outbox.message
            where priority::integer = class and id + 0 = %(from_message_id)s
        ) as message
        where %(channels)s::text[] is null or outbox.channel_allowed(channel, %(channels)s)
    ) as found
"""


REPLAY: LiteralString = """
    select outbox.replay(%(name)s, %(from)s, %(from_message_id)s, %(dry_run)s) as messages
"""


async def replay(call: Call[ReplayForm, NoQuery]) -> Replayed:
    """Sends what was published since then again, in order and marked as replayed, or counts it."""
    form = call.body
    if (form.from_ is UNSET) == (form.from_message_id is UNSET):
        raise Problem(422, "Give from or fromMessageId, one of them.", field="from")
    parameters = {
        "id": call.id,
        "from": None if form.from_ is UNSET else form.from_,
        "from_message_id": None if form.from_message_id is UNSET else int(form.from_message_id),
        "dry_run": form.dry_run,
        "channels": call.caller.channels,
    }

    async def work(transaction: Transaction) -> Count:
        require_scope(call.caller, await kind_of(transaction, call.caller, call.id))
        locked = await (await transaction.select(Named, NAME, parameters)).fetchone()
        if locked is None:
            raise no_subscription()
        if form.from_message_id is not UNSET:
            exists = await (await transaction.select(Exists, EXISTS, parameters)).fetchone()
            if exists is None or not exists.found:
                detail = f"The log has no message {form.from_message_id}; it may be past retention."
                raise Problem(422, detail, field="fromMessageId")
        named = {**parameters, "name": locked.name}
        count = await (await transaction.select(Count, REPLAY, named)).fetchone()
        assert count is not None
        # It may have been moved to another channel before that was counted.
        await kind_of(transaction, call.caller, call.id)
        return count

    count = await call.database.walk(work, timeout_seconds=REPLAY_TIMEOUT_SECONDS)
    return Replayed(count.messages, form.dry_run)


TEST: LiteralString = "select outbox.send_test(%(id)s)::text as message_id"


async def send_test(call: Call[None, NoQuery]) -> Sent:
    """Queues one message of type `outbox.test` for this subscription alone."""

    async def work(transaction: Transaction) -> Sent:
        await require_http(transaction, call.caller, call.id)
        sent = await (await transaction.select(Sent, TEST, {"id": call.id})).fetchone()
        assert sent is not None
        return sent

    return await call.database.run(work)
