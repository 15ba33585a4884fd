"""GET /v1/messages/{id}/trace: where a message is."""

import re
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeAlias

import msgspec

from service.database.transaction import Transaction
from service.platform.connectors.waiting import shown_reason
from service.platform.fields import Id
from service.platform.permission import visible
from service.platform.subscriptions.view import GONE
from service.problems import Problem
from service.web.access.authorization import Caller
from service.web.operations.operation import Call
from service.web.operations.query import NoQuery

State: TypeAlias = Literal[
    "delivered",
    "deadLetter",
    "redriven",
    "dropped",
    "notWanted",
    "beforeStart",
    "passed",
    "waiting",
    "replayed",
    "retrying",
    "inFlight",
    "paused",
    "breakerOpen",
    "channelWaiting",
    "gone",
]


class TracedPassage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """By which run the cursor passed the message: between two checkpoints.

    The first of the two is null where `checkpoint` is the oldest that is kept. `mergedAt`: it went
    by a cursor of its channel alone, which is merged since.
    """

    cursor: int
    at: datetime
    after_checkpoint: int | None = None
    after_at: datetime | None = None
    checkpoint: int | None = None
    relay: str | None = None
    merged_at: datetime | None = None


class TracedHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The message for which its group waits; `triedSince` is its first attempt."""

    message_id: Id
    state: Literal["untried", "retrying", "inFlight", "parked"]
    attempts: int
    due_at: datetime | None
    reason: str | None
    tried_since: datetime | None


class TracedQueue(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Behind what it waits: `ahead` messages of its cursor in the log, `aheadInGroup` deliveries.

    At least so many where `more`. `checkpoint` is the cursor's latest one, of `at` and by `relay`.
    """

    cursor: int
    priority: int
    shard: int
    channel: str | None
    checkpoint: int
    at: datetime
    relay: str | None
    ahead: int | None
    ahead_in_group: int | None
    more: bool
    head: TracedHead | None


class TracedDeadLetter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Its dead letter, whatever became of that."""

    id: Id
    reason: str
    exhausted: str | None
    attempts: int
    died_at: datetime
    redriven_at: datetime | None
    delivered_at: datetime | None


class TracedAttempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One request; without `error` it was acknowledged."""

    number: int
    at: datetime
    duration_seconds: float
    status: int | None
    error: str | None
    relay: str


class TracedPlace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What became of it at one subscription, and how that is known.

    `passed`: its cursor is past it, by a filter that was changed since or in a replay that is long
    over, so whether it was sent is not known. `replayed`: it waits to be sent again. `because`: the
    reason of a dead letter, a pause or a wait; of `notWanted`, channels or types. `attempts` are
    the latest fifty, the newest first.
    """

    subscription_id: Id
    subscription: str
    kind: Literal["http", "kafka", "sqs", "pubsub"]
    state: State
    since: datetime | None
    because: str | None
    next_attempt_at: datetime | None
    passed: TracedPassage | None
    queue: TracedQueue | None
    dead_letter: TracedDeadLetter | None
    attempts: list[TracedAttempt]


class Trace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message without what it carries, and where it is.

    `state`: inLog, or gone where the log no longer has it; then a dead letter may say what it was.
    `transactionId` is Postgres's, for keys that are not limited to channels.
    """

    id: Id
    state: Literal["inLog", "gone"]
    transaction_id: str | None
    channel_id: str | None
    type: str | None
    group_key: str | None
    priority: int | None
    idempotency_key: str | None
    created_at: datetime | None
    subscriptions: list[TracedPlace]


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What the log knows of it."""

    state: Literal["in_log", "gone", "uncommitted", "undrawn"]
    xid: str | None
    priority: int | None
    channel: str | None
    type: str | None
    group_key: str | None
    idempotency_key: str | None
    created_at: datetime | None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A place from SQL; what is JSON there has its names there."""

    subscription_id: str
    subscription: str
    kind: str
    state: str
    since: datetime | None
    because: str | None
    next_attempt_at: datetime | None
    passed: Any
    queue: Any
    dead_letter: Any
    attempts: Any


MESSAGE: LiteralString = """
    select state, xid::text as xid, priority, channel, type, group_key, idempotency_key, created_at
    from outbox.trace_message(%(id)s)
"""
PLACES: LiteralString = """
    select subscription_id::text as subscription_id, subscription, kind, state, since, because,
           next_attempt_at, passed, queue, dead_letter, attempts
    from outbox.trace(%(id)s, %(visible)s)
"""


async def read_trace(call: Call[None, NoQuery]) -> Trace:
    """Where a message is: what became of it at each subscription, and how that is known."""

    async def work(transaction: Transaction) -> Trace:
        message = await transaction.one(Message, MESSAGE, {"id": call.id})
        assert message is not None, "outbox.trace_message returns one row"
        message = _allowed(call.caller, message)
        parameters = {"id": call.id, "visible": await visible(transaction, call.caller)}
        places = await transaction.all(Row, PLACES, parameters)
        return _shown(call.caller, call.id, message, places)

    return await call.database.walk(work)


GONE_UNKNOWN = Message(
    state="gone",
    xid=None,
    priority=None,
    channel=None,
    type=None,
    group_key=None,
    idempotency_key=None,
    created_at=None,
)
NONE = "The message does not exist"


def _allowed(caller: Caller, message: Message) -> Message:
    """What the caller may know of it. Raises Problem 404 where there never was such a message.

    To a key that is limited to channels another channel's looks as if there was none, and one that
    is gone as if nothing was known of it.
    """
    if message.channel is not None and not caller.may_use(message.channel):
        if message.state == "gone":
            return GONE_UNKNOWN
        raise Problem(404, f"{NONE}.")
    if message.state in ("in_log", "gone"):
        return message
    if caller.channels is not None:
        raise Problem(404, f"{NONE}.")
    if message.state == "undrawn":
        raise Problem(404, f"{NONE}: no id so high was drawn yet.")
    raise Problem(404, f"{NONE}: the transaction that drew its id rolled back, or is not over.")


def _shown(caller: Caller, message_id: int, message: Message, places: list[Row]) -> Trace:
    return Trace(
        id=str(message_id),
        state="inLog" if message.state == "in_log" else "gone",
        # How many transactions there are is none of a limited key's business.
        transaction_id=message.xid if caller.channels is None else None,
        channel_id=message.channel,
        type=message.type,
        group_key=message.group_key,
        priority=message.priority,
        idempotency_key=message.idempotency_key,
        created_at=message.created_at,
        subscriptions=[_place(caller, place) for place in places],
    )


def _place(caller: Caller, row: Row) -> TracedPlace:
    fields = _in_camel_case(msgspec.structs.asdict(row))
    fields["state"] = _camel(row.state)
    fields["attempts"] = fields["attempts"] or []
    if fields["deadLetter"] is not None:
        fields["deadLetter"]["id"] = str(fields["deadLetter"]["id"])
    if fields["queue"] is not None and (head := fields["queue"]["head"]) is not None:
        head |= {"messageId": str(head["messageId"]), "state": _camel(head["state"])}
    fields["because"] = _reason(caller, row)
    return msgspec.convert(fields, TracedPlace)


def _reason(caller: Caller, row: Row) -> str | None:
    """What of `because` the caller may read."""
    reason = row.because
    match row.state:
        case "waiting" | "replayed" | "channel_waiting" if row.kind == "http":
            # It tells of the secret.
            operates = "operate" in caller.scopes and caller.channels is None
            return reason if operates else None
        case "waiting" | "replayed" | "channel_waiting":
            return shown_reason(reason, caller)
        case "paused" if "manage" not in caller.scopes and (reason or "").startswith(GONE):
            # Behind it stand the endpoint's own words, which may repeat its URL.
            return GONE
        case _:
            return reason


def _in_camel_case(value: Any) -> Any:
    match value:
        case dict():
            return {_camel(name): _in_camel_case(inner) for name, inner in value.items()}
        case list():
            return [_in_camel_case(inner) for inner in value]
        case _:
            return value


def _camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)
