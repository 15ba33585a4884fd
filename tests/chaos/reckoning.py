"""What committed, from the log, and what became of it, from topics and dead letters."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from sys import intern
from zlib import crc32

from tests.chaos import endpoint, source, turnover
from tests.chaos.checker import Arrival, Committed, DeadLetter, Verdict, check
from tests.chaos.connectors import BEYOND, BEYOND_TOPIC, FIFO, INWARD
from tests.chaos.endpoint import Entry
from tests.chaos.places import AUDIT, CHANNELS, INBOUND, PARCELS, Places, Subscription
from tests.chaos.plan import RELAYS
from tests.chaos.queue import Received
from tests.chaos.topics import read
from tests.chaos.transients import KAFKA, Transient
from tests.chaos.turnover import Owed
from tests.chaos.webhooks import PATH, WEBHOOKS

ROWS_AT_ONCE = 5_000

LOG = """
select id, channel, type, xid::text::bigint, priority, convert_to(group_key, 'UTF8'),
       idempotency_key, payload
from outbox.message where channel not like 'outbox.%'
"""


def read_log(here: Places) -> dict[str, Committed]:
    """Everything that committed, by idempotency key. Raises ValueError where two share one."""
    log: dict[str, Committed] = {}
    channels = {channel: channel for channel in CHANNELS}
    with here.connect() as session, session.transaction(), session.cursor("log") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        for id_, channel, type_, xid, priority, group, key, payload in cursor.execute(LOG):
            # What came in twice is the connector's fault, and told as such.
            if key in log and channel != INBOUND:
                raise ValueError(f"two messages of the log have the key {key}")
            oversize = type_ == "chaos.oversize"
            # One string for all of a channel's messages: there are hundreds of thousands.
            name = channels[channel]
            log[key] = Committed(
                id_, name, intern(type_), xid, priority, group, crc32(payload), oversize
            )
    return log


DEAD_LETTERS = """
select dead_letter.idempotency_key, dead_letter.reason
from outbox.dead_letter
join outbox.subscription on subscription.id = dead_letter.subscription_id
where subscription.name = %s
"""


ENTERED = """
select id, convert_to(group_key, 'UTF8'), idempotency_key, payload
from outbox.message where channel = %s order by id
"""
REFUSED = """
select replace(concat_ws('-', topic, partition, record_offset), '.', ':'), reason
from outbox.source_dead_letter
"""

# A promoted standby is another history of the database: what Kafka holds of a run that was in doubt
# at the switchover can't be adopted there, and comes again. That is promised only where it is told.
TOLD = "kafka_cursor_refused"


def judge(here: Places, subscription: Subscription, log: Mapping[str, Committed]) -> Verdict:
    """Reads a subscription's topics and dead letters. Raises KafkaException and TimeoutError."""
    return check(
        subscription.name,
        exactly_once=subscription.exactly_once and not _told(here),
        log=log,
        arrivals=_arrivals(here, subscription),
        dead_letters=_dead_letters(here, subscription.name),
    )


def _told(here: Places) -> bool:
    return any(TOLD in here.programs[relay].output() for relay in RELAYS)


def judge_beyond(here: Places, log: Mapping[str, Committed]) -> Verdict:
    """The same of the other Kafka's topic."""
    return check(
        BEYOND,
        exactly_once=not _told(here),
        log=_of(PARCELS, log),
        arrivals=read(here.other_kafka.bootstrap_servers, {BEYOND_TOPIC: PARCELS}),
        dead_letters=_dead_letters(here, BEYOND),
        foreign=log.keys(),
    )


def judge_fifo(here: Places, log: Mapping[str, Committed]) -> Verdict:
    """The same of what the queue's consumer received. Until it is killed a queue knows what it
    had."""
    arrivals, again = remembered(here.queue.received)
    verdict = check(
        FIFO,
        exactly_once=True,
        log=_of(AUDIT, log),
        arrivals=arrivals,
        dead_letters=_dead_letters(here, FIFO),
        foreign=log.keys(),
    )
    verdict.repeats += again
    return verdict


def remembered(received: Iterable[Received]) -> tuple[list[Arrival], int]:
    """Without what came again after a kill, for the first time since, and how many these were."""
    latest: dict[tuple[str | None, bytes, int], int] = {}
    arrivals: list[Arrival] = []
    again = 0
    for place, (life, group, key, checksum) in enumerate(received):
        if latest.get((key, group, checksum), life) < life:
            again += 1
        else:
            arrivals.append(Arrival(AUDIT, 0, place, group, key, checksum))
        latest[key, group, checksum] = life
    return arrivals, again


def judge_inward(here: Places, log: Mapping[str, Committed]) -> Verdict:
    """What is in the source's topic against what of it entered the log."""
    with here.connect() as session:
        entered = [
            Arrival(INBOUND, 0, id_, group, key, crc32(payload))
            for id_, group, key, payload in session.execute(ENTERED, [INBOUND])
        ]
        refused = [DeadLetter(*row) for row in session.execute(REFUSED)]
    return check(
        INWARD,
        exactly_once=True,
        log=source.records(here),
        arrivals=entered,
        dead_letters=refused,
        foreign=log.keys(),
    )


def _of(channel: str, log: Mapping[str, Committed]) -> dict[str, Committed]:
    return {key: message for key, message in log.items() if message.channel == channel}


def judge_webhooks(here: Places, log: Mapping[str, Committed]) -> Verdict:
    """The same of the endpoint's journal. A request names no channel and no group: its key does."""
    entries = (entry for entry in endpoint.read(here.journal) if entry.path == PATH)
    return check(
        WEBHOOKS,
        exactly_once=False,
        log=log,
        arrivals=_requests(log, entries),
        dead_letters=_dead_letters(here, WEBHOOKS),
    )


def judge_transients(
    here: Places, those: Sequence[Transient], log: Mapping[str, Committed]
) -> dict[Transient, Verdict]:
    """The same of each that was made."""
    entries = defaultdict[str, list[Entry]](list)
    for entry in endpoint.read(here.journal):
        entries[entry.path].append(entry)
    owed = turnover.read(here)
    return {
        one: judge_transient(
            one,
            owed[one.name],
            log,
            read(here.bootstrap_servers, one.topics)
            if one.kind == KAFKA
            else _requests(log, entries[one.path]),
            _dead_letters(here, one.name),
        )
        for one in those
        if one.name in owed
    }


def judge_transient(
    one: Transient,
    owed: Owed,
    log: Mapping[str, Committed],
    arrivals: Iterable[Arrival],
    dead_letters: Sequence[DeadLetter],
) -> Verdict:
    """What commits after the snapshot of its making is its own. What was pending when it was
    deleted went with it, and its dead letters too; from then on it gets nothing."""
    own = {
        key: message
        for key, message in log.items()
        if one.wants(message.channel, message.type) and _is_of_its_time(message, owed)
    }
    return check(
        one.name,
        exactly_once=False,
        log=own,
        arrivals=arrivals,
        dead_letters=dead_letters,
        foreign=log.keys(),
        discarded={key for key, message in own.items() if _was_discarded(message, owed)},
    )


def _is_of_its_time(message: Committed, owed: Owed) -> bool:
    return not owed.seen.sees(message.xid) and (owed.gone is None or owed.gone.sees(message.xid))


def _was_discarded(message: Committed, owed: Owed) -> bool:
    if owed.gone is None:
        return False
    position = owed.positions.get(
        (message.priority, message.channel), owed.positions[message.priority, None]
    )
    return message.oversize or message.id in owed.undelivered or not position.sees(message.xid)


def _requests(log: Mapping[str, Committed], entries: Iterable[Entry]) -> Iterator[Arrival]:
    for place, (_, key, checksum, _) in enumerate(entries):
        message = log.get(key)
        channel, group = (message.channel, message.group_key) if message else ("", None)
        yield Arrival(channel, 0, place, group, key, checksum)


def webhook_faults(here: Places) -> list[str]:
    """What the journal shows besides: whether each request was signed."""
    unsigned = sum(not entry.signed for entry in endpoint.read(here.journal))
    return [f"{unsigned} webhooks had no right signature"] if unsigned else []


def _dead_letters(here: Places, subscription: str) -> list[DeadLetter]:
    with here.connect() as session:
        return [DeadLetter(*row) for row in session.execute(DEAD_LETTERS, [subscription])]


def _arrivals(here: Places, subscription: Subscription) -> Iterator[Arrival]:
    topics = {subscription.prefix + channel: channel for channel in CHANNELS}
    return read(here.bootstrap_servers, topics)


STEPS_BACKWARDS = """
select count(*) from (
    select step <= lag(step) over (partition by channel, group_key order by id) as backwards
    from (
        select id, channel, group_key, split_part(idempotency_key, ':', 5)::bigint as step
        from outbox.message where type = 'chaos.step'
    ) as steps
) as compared
where backwards
"""
PAYMENTS = "select group_key from outbox.message where channel = 'payment.success'"


def log_faults(here: Places, paid: Sequence[str]) -> list[str]:
    """What the log itself shows: its ids follow the writers, each payment acknowledged is there."""
    with here.connect() as session:
        ((backwards,),) = session.execute(STEPS_BACKWARDS)
        successes = Counter(group for (group,) in session.execute(PAYMENTS))
    faults = [
        f"order {order_id} was acknowledged as paid and has {successes[order_id]} payment.success"
        for order_id in paid
        if successes[order_id] != 1
    ]
    faults += [
        f"order {order_id} has {count} payment.success"
        for order_id, count in successes.items()
        if count > 1 and order_id not in paid
    ]
    if backwards:
        faults.append(f"{backwards} messages of the log lie behind a later step of their group")
    return faults
