"""What an operator should see to, as far as this service's role can know it.

`outbox-relay doctor` looks at more: at Kafka, at names, at secrets, at rights and locks.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Literal, LiteralString

import msgspec

from service.database.transaction import Transaction
from service.platform.connectors.waiting import shown_reason
from service.platform.fields import Id
from service.platform.overview.fleet import Fleet, Holder
from service.web.access.authorization import Caller

# As the doctor has them.
LATE_SECONDS = 600.0
LONG_TRANSACTION_SECONDS = 300.0
MAX_SLOT_TRANSACTIONS = 1_000_000
# Of each kind of trouble.
MAX_SHOWN = 20
MAX_COUNTED = 10_000

Level = Literal["warning", "fault"]


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`fault`: relays can't do their work; `warning`: they can, but an operator should look.

    `hint` is what to do about it; `subscriptionId` the subscription or connector it is about.
    """

    level: Level
    what: str
    text: str
    hint: str
    subscription_id: Id | None = None


class Trouble(msgspec.Struct, frozen=True):
    """What is the matter with a subscription or connector, from SQL."""

    what: str
    id: str
    name: str
    number: int | None
    since: datetime | None
    reason: str | None


OF_SUBSCRIPTIONS: LiteralString = """
    with own as materialized (
        select id, name, paused, waiting_since, waiting_reason from outbox.subscription
        where %(visible)s::bigint[] is null or id = any (%(visible)s)
    )
    (select 'breaker' as what, own.id::text as id, own.name, null::bigint as number,
            breaker.failing_since as since, null as reason
     from own join outbox.breaker on breaker.subscription_id = own.id
     where breaker.opened_at is not null order by own.id limit %(rows)s)
    union all
    (select 'dead letters', own.id::text, own.name, waiting.number, null, null
     from own
     cross join lateral (
         select count(*) as number
         from (select from outbox.dead_letter
               where subscription_id = own.id and redriven_at is null
               order by message_id limit %(counted)s) as one
     ) as waiting
     where waiting.number > 0 order by own.id limit %(rows)s)
    union all
    (select 'waiting', id::text, name, null, waiting_since, waiting_reason
     from own where waiting_since is not null order by id limit %(rows)s)
    union all
    (select 'channel waiting', own.id::text, own.name, null, cursor.waiting_since,
            cursor.waiting_reason
     from own join outbox.cursor on cursor.subscription_id = own.id
     where cursor.waiting_since is not null order by own.id limit %(rows)s)
    union all
    (select 'paused', id::text, name, null, null, null
     from own where paused order by id limit %(rows)s)
"""
OF_SOURCES: LiteralString = """
    (select 'dead letters of a connector' as what, id::text as id, name, dead_letters as number,
            null::timestamptz as since, null as reason
     from outbox.source_state where dead_letters > 0 order by id limit %(rows)s)
    union all
    (select 'waiting', id::text, name, null, waiting_since, waiting_reason
     from outbox.source where waiting_since is not null order by id limit %(rows)s)
    union all
    (select 'paused', id::text, name, null, null, null
     from outbox.source where paused order by id limit %(rows)s)
"""


async def read(
    transaction: Transaction, caller: Caller, visible: list[int] | None, fleet: Fleet | None
) -> list[Finding]:
    """What the caller may know, the faults first."""
    parameters = {"visible": visible, "rows": MAX_SHOWN, "counted": MAX_COUNTED}
    troubles = await transaction.all(Trouble, OF_SUBSCRIPTIONS, parameters)
    if fleet is not None:
        troubles += await transaction.all(Trouble, OF_SOURCES, parameters)
    found = [_of_subscription(trouble, caller) for trouble in troubles]
    if fleet is not None:
        found = [*_of_fleet(fleet), *found]
    return sorted(found, key=lambda finding: finding.level != "fault")


def _of_subscription(trouble: Trouble, caller: Caller) -> Finding:
    text, hint = _said(trouble, shown_reason(trouble.reason, caller))
    return Finding(
        level="warning", what=trouble.what, text=text, hint=hint, subscription_id=trouble.id
    )


def _said(trouble: Trouble, reason: str | None) -> tuple[str, str]:
    """What is the matter, and what to do about it."""
    name, number = trouble.name, trouble.number or 0
    since = "" if trouble.since is None else f" since {trouble.since:%Y-%m-%d %H:%M} UTC"
    more = " or more" if number >= MAX_COUNTED else ""
    match trouble.what:
        case "breaker":
            return (
                f"{name} has answered nothing but failures{since}, and is asked rarely",
                "its latest attempts say why; repaired, it goes on by itself",
            )
        case "dead letters":
            return (
                f"{number:,}{more} of {name} wait to be redriven",
                "repair what refused them, then redrive them",
            )
        case "dead letters of a connector":
            return (
                f"{name}: {number:,} of what came could not enter",
                f"outbox-relay connectors dead-letters {name}; then redrive or discard",
            )
        case "paused":
            return (
                f"{name} is paused: its backlog stays in the log",
                "once its reason is gone, resume it",
            )
        case _:
            channel = "a channel of " if trouble.what == "channel waiting" else ""
            return f"{channel}{name} waits{since}: {reason}", "repair that; it goes on by itself"


def _of_fleet(fleet: Fleet) -> Iterator[Finding]:
    if fleet.fault is not None:
        hint = "if writers have run here: outbox-relay rebase --from TIME"
        yield Finding(level="fault", what="cluster", text=fleet.fault, hint=hint)
    if not fleet.relays:
        hint = "start one: outbox-relay run"
        text = "no relay is connected: nothing is delivered"
        yield Finding(level="fault", what="relays", text=text, hint=hint)
    maintenance = fleet.maintenance
    if maintenance.age_seconds > LATE_SECONDS or maintenance.fault is not None:
        failed = f"; the latest round failed: {maintenance.fault}" if maintenance.fault else ""
        minutes = maintenance.age_seconds / 60
        text = f"the log was looked after {minutes:.0f} minutes ago{failed}"
        hint = "keep a relay running; outbox-relay doctor names who keeps it from that"
        yield Finding(level="warning", what="maintenance", text=text, hint=hint)
    if not any(partition.from_time is None for partition in fleet.partitions):
        hint = "keep a relay running, which makes it"
        text = "no partition is made ahead of the log's ids"
        yield Finding(level="warning", what="partitions", text=text, hint=hint)
    for holder in filter(_holds_long, fleet.horizon):
        text = f"{holder.kind} {holder.name} {holder.application or ''} holds vacuum back"
        hint = "psql -q -f sql/inspect/horizon.sql says more, and the runbook how to end it"
        yield Finding(level="warning", what="horizon", text=" ".join(text.split()), hint=hint)


def _holds_long(holder: Holder) -> bool:
    if holder.held_since is None:
        return holder.kind == "replication slot" and (holder.transactions or 0) > (
            MAX_SLOT_TRANSACTIONS
        )
    held = datetime.now(UTC) - holder.held_since
    return held.total_seconds() > LONG_TRANSACTION_SECONDS
