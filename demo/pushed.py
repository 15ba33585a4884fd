"""The reckoning of the webhooks: from the log, the attempts and what the subscribers wrote down."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import psycopg

from demo.comparison import Delivery, Promise, Published, compare
from demo.places import Places
from demo.subscribers import records
from demo.subscriptions import CHANNEL, COOL_DOWN_SECONDS, FAILING, REFUSING, SUBSCRIBERS

Connection = psycopg.Connection[Any]


class Outage(msgspec.Struct, frozen=True):
    """How long the breaker of FAILING was open; `closed_at` is None where it still is."""

    opened_at: datetime
    closed_at: datetime | None

    @property
    def seconds(self) -> float:
        return (self.closed_at - self.opened_at).total_seconds() if self.closed_at else 0.0


class Pushed(msgspec.Struct, frozen=True):
    """The whole of it.

    `refused` counts by subscriber the requests that it did not take; `probes` are the requests to
    FAILING in its outages; `medians` are seconds from commit to answer, of what was committed in
    an outage, for those who had none.
    """

    deliveries: list[Delivery]
    refused: dict[str, int]
    outages: list[Outage]
    probes: int
    medians: dict[str, float]
    promises: list[Promise]


def reckon_pushed(places: Places, sale: Connection, log: Iterable[Published]) -> Pushed:
    """Reads databases and records anew. Raises psycopg.Error, sqlite3.Error."""
    lifecycle = [message for message in log if message.channel == CHANNEL]
    counts = {name: records.counts(places.records[name]) for name in SUBSCRIBERS}
    outages = read_outages(sale)
    hasty, probes = read_probes(sale, outages)
    medians = read_medians(sale, outages)
    closed = [outage for outage in outages if outage.closed_at]
    dead, redriven = read_dead_letters(sale)
    return Pushed(
        deliveries=[
            compare(name, lifecycle, records.arrivals(places.records[name])) for name in SUBSCRIBERS
        ],
        refused={name: counts[name]["refused"] for name in SUBSCRIBERS},
        outages=outages,
        probes=probes,
        medians=medians,
        promises=[
            Promise("webhooks with a bad signature", 0, sum(c["forged"] for c in counts.values())),
            Promise(f"{FAILING}'s breaker: opened, and closed", max(len(outages), 1), len(closed)),
            Promise(f"  requests beyond one per {COOL_DOWN_SECONDS} s meanwhile", 0, hasty),
            Promise("  subscribers served meanwhile", len(SUBSCRIBERS) - 1, len(medians)),
            Promise(f"dead letters of {REFUSING}, redriven and delivered", 1, redriven),
            Promise("other dead letters", 0, dead - redriven),
        ],
    )


EVENTS = """
    select type, (convert_from(payload, 'UTF8')::json ->> 'at')::timestamptz
    from outbox.message
    where channel = 'outbox.events' and group_key = %s
      and type in ('subscription.breaker_opened', 'subscription.breaker_closed')
    order by id
"""


def read_outages(sale: Connection) -> list[Outage]:
    """What was told of the breaker of FAILING."""
    outages: list[Outage] = []
    for type, at in sale.execute(EVENTS, [FAILING]):
        if type == "subscription.breaker_opened":
            outages.append(Outage(at, None))
        else:
            outages[-1] = msgspec.structs.replace(outages[-1], closed_at=at)
    return outages


ATTEMPTS = """
    select at from outbox.attempt
    where subscription_id = (select id from outbox.subscription where name = %(name)s)
      and at > %(opened_at)s and at < %(closed_at)s
    order by at
"""


def read_probes(sale: Connection, outages: Iterable[Outage]) -> tuple[int, int]:
    """Of the requests to FAILING while its breaker was open.

    How many came within a cool-down of what was before, and are there at all.
    """
    hasty = probes = 0
    for outage in outages:
        times = [outage.opened_at, *(at for (at,) in sale.execute(ATTEMPTS, _period(outage)))]
        cool_down = timedelta(seconds=COOL_DOWN_SECONDS)
        hasty += sum(later - earlier < cool_down for earlier, later in pairwise(times))
        probes += len(times) - 1
    return hasty, probes


SERVED = """
    select subscription.name,
           extract(epoch from attempt.at - message.created_at)::float8 + attempt.duration_seconds,
           attempt.at < %(closed_at)s
    from outbox.message
    join outbox.attempt on attempt.message_id = message.id and attempt.error is null
    join outbox.subscription on subscription.id = attempt.subscription_id
    where message.channel = %(channel)s and subscription.name <> %(name)s
      and message.created_at > %(opened_at)s and message.created_at < %(closed_at)s
"""


def read_medians(sale: Connection, outages: Iterable[Outage]) -> dict[str, float]:
    """Seconds from commit to answer of what came into an outage of FAILING, the median.

    By subscriber; without those who got nothing before the outage was over.
    """
    seconds: dict[str, list[float]] = {}
    served: set[str] = set()
    for outage in outages:
        parameters = {**_period(outage), "channel": CHANNEL}
        for name, took, in_outage in sale.execute(SERVED, parameters):
            seconds.setdefault(name, []).append(took)
            if in_outage:
                served.add(name)
    return {
        name: sorted(seconds[name])[len(seconds[name]) // 2]
        for name in SUBSCRIBERS
        if name in served
    }


DEAD_LETTERS = """
    select count(*), count(*) filter (where subscription.name = %s
                                        and redriven_at is not null and delivered_at is not null)
    from outbox.dead_letter
    join outbox.subscription on subscription.id = dead_letter.subscription_id
"""


def read_dead_letters(sale: Connection) -> tuple[int, int]:
    """How many dead letters there are, and how many of REFUSING were delivered since."""
    row = sale.execute(DEAD_LETTERS, [REFUSING]).fetchone()
    assert row is not None, "an aggregate always has one row"
    return int(row[0]), int(row[1])


def _period(outage: Outage) -> dict[str, object]:
    return {
        "name": FAILING,
        "opened_at": outage.opened_at,
        "closed_at": outage.closed_at or datetime.max.replace(tzinfo=outage.opened_at.tzinfo),
    }
