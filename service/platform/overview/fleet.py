"""What is nobody's channel: relays, the log, its maintenance, and who holds vacuum back."""

from datetime import datetime
from typing import LiteralString

import msgspec

from service.database.transaction import Transaction

# Of what there may be much.
MAX_SHOWN = 20
# Of each priority so many of the newest messages are looked at: beyond that their rate is that of
# these.
NEWEST = 2_000
# `past_retention` of partition_state is a relay's to say: the service does not know its setting.
NEVER_DAYS = 36_500


class Relay(msgspec.Struct, frozen=True, rename="camel"):
    """A relay that is connected, since when, by how many sessions, and how many are in a run."""

    name: str
    since: datetime | None
    sessions: int
    runs: int


class Holder(msgspec.Struct, frozen=True, rename="camel"):
    """Who holds vacuum back, since when, and by how many transactions."""

    kind: str
    name: str
    application: str | None
    held_since: datetime | None
    transactions: int | None


class Partition(msgspec.Struct, frozen=True, rename="camel"):
    """A part of the log: what was written between these times; `bytes` with its indexes.

    `from` is null of one that is made ahead, `upto` of one that is still written to.
    """

    name: str
    from_time: datetime | None = msgspec.field(name="from")
    upto_time: datetime | None = msgspec.field(name="upto")
    estimated_rows: int | None
    bytes: int


class Maintenance(msgspec.Struct, frozen=True, rename="camel"):
    """When a relay last looked after the log and left nothing out, and what went wrong since."""

    done_at: datetime
    age_seconds: float
    relay: str
    fault: str | None


class Fleet(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """For keys that are not limited to channels. `fault`: why no relay runs on this database."""

    published_per_second: float
    relays: list[Relay]
    horizon: list[Holder]
    partitions: list[Partition]
    maintenance: Maintenance
    fault: str | None


PUBLISHED: LiteralString = """
    select coalesce(sum(
        case when looked = %(newest)s and oldest_at > at - interval '1 minute'
             then looked / greatest(extract(epoch from at - oldest_at), 0.001)
             else recent / 60.0 end), 0)::float8
    from (
        select count(*) as looked, min(created_at) as oldest_at, clock_timestamp() as at,
               count(*) filter (where created_at > clock_timestamp() - interval '1 minute')
                   as recent
        from generate_series(1, 5) as class
        cross join lateral (
            select created_at from outbox.message
            where priority::integer = class order by id + 0 desc limit %(newest)s
        ) as newest
        group by class
    ) as by_class
"""
RELAYS: LiteralString = "select relay as name, since, sessions, runs from outbox.relays()"
HORIZON: LiteralString = """
    select kind, name, application_name as application, held_since,
           transactions_ago as transactions
    from outbox.horizon limit %(rows)s
"""
PARTITIONS: LiteralString = """
    select partition as name, from_time, upto_time, estimated_rows, bytes
    from outbox.partition_state(%(days)s)
"""
MAINTENANCE: LiteralString = """
    select done_at, extract(epoch from clock_timestamp() - done_at)::float8 as age_seconds, relay,
           fault
    from outbox.maintenance
"""
FOREIGN: LiteralString = "select outbox.foreign_cluster()"


async def read(transaction: Transaction) -> Fleet:
    """All of it, in one transaction."""
    relays = await transaction.select(Relay, RELAYS, {})
    holders = await transaction.select(Holder, HORIZON, {"rows": MAX_SHOWN})
    partitions = await transaction.select(Partition, PARTITIONS, {"days": NEVER_DAYS})
    maintenance = await transaction.one(Maintenance, MAINTENANCE, {})
    assert maintenance is not None
    return Fleet(
        published_per_second=await transaction.value(float, PUBLISHED, {"newest": NEWEST}) or 0.0,
        relays=await relays.fetchall(),
        horizon=await holders.fetchall(),
        partitions=await partitions.fetchall(),
        maintenance=maintenance,
        fault=await transaction.value(str, FOREIGN, {}),
    )
