"""What the doctor finds about inward connectors: whether this relay can read what they name."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import msgspec

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.doctor.queues import TIMEOUT_SECONDS
from relay.log.sink import SinkAway
from relay.settings import Settings
from relay.sources.kafka import positions
from relay.sources.kafka.positions import Position, demand_same_topic
from relay.sources.kafka.reader import OffsetGone, Reader, properties_of
from relay.sources.source import Source, Stopped, active, installation
from relay.sources.sqs.queue import Queue, settings_of

# Each may take as long as a cluster that does not answer.
MAX_EXAMINED = 20
# How long one record is waited for, which shows that it may be read.
READ_SECONDS = 2.0
WHAT = "source"
HINT = (
    "start that cluster, correct the connector's config, or give this relay what it lacks: "
    "RELAY_CREDENTIALS_…, RELAY_ALLOW_HOSTS"
)
RIGHTS = (
    "sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility, sqs:GetQueueAttributes"
)
GRANT = "let this relay's user read the topic, and say what it is: READ and DESCRIBE"


class Examined(msgspec.Struct, frozen=True):
    """A source, and how far its topic was taken in; `installation` begins its reader's name."""

    source: Source
    known: Mapping[int, Position]
    installation: str


HELD = "select name, paused_reason from outbox.source where paused order by name limit %s"
DEAD_LETTERS = """
    select name, dead_letters from outbox.source_state where dead_letters > 0 order by name limit %s
"""


def examine(connection: Connection) -> Iterator[Finding]:
    """What the database alone shows. Raises psycopg.Error."""
    for name, reason in connection.execute(HELD, (MAX_EXAMINED,)).fetchall():
        text = f"{name} is paused: {reason or 'no reason given'}"
        yield Finding("warning", WHAT, text, "do what its question says, or resume it")
    for name, number in connection.execute(DEAD_LETTERS, (MAX_EXAMINED,)).fetchall():
        text = f"{name}: {number} of what came could not enter"
        hint = f"outbox-relay connectors dead-letters {name}; then redrive or discard"
        yield Finding("warning", WHAT, text, hint)


def sources(connection: Connection) -> list[Examined]:
    """Those that are examined. Raises psycopg.Error."""
    own = installation(connection)
    found = active(connection)[:MAX_EXAMINED]
    return [Examined(one, positions.read(connection, one), own) for one in found]


def look_up(found: Sequence[Examined], settings: Settings) -> Iterator[Finding]:
    """Whether each can be read, from where it stands."""
    for one in found:
        look = _look_at_queue if one.source.kind == "sqs" else _look_at_topic
        yield from look(one, settings)


def _look_at_queue(one: Examined, settings: Settings) -> Iterator[Finding]:
    """Nothing is received: that would count as an attempt of whatever it is."""
    name = one.source.name
    in_time = msgspec.structs.replace(settings_of(one.source), timeout_seconds=TIMEOUT_SECONDS)
    try:
        with closing(Queue(in_time, settings)) as queue:
            waiting = queue.waiting()
    except SinkAway as away:
        yield Finding("fault", WHAT, f"{name}: {away}", HINT)
        return
    if waiting is None:
        text = f"{name}: its queue does not say how many messages it has"
        yield Finding("warning", WHAT, text, f"allow {RIGHTS} to whom the connector names")
        return
    yield ok(WHAT, f"{name} reaches its queue, in which {waiting} messages wait; none was received")


def _look_at_topic(one: Examined, settings: Settings) -> Iterator[Finding]:
    source = one.source
    try:
        properties = properties_of(source.cluster, settings)
        group = f"outbox.{one.installation}.{source.id}.doctor"
        with closing(Reader(properties, source.topic, group)) as reader:
            topic_id, partitions = reader.told(reader.ask_topic())
            demand_same_topic(source, one.known, topic_id)
            yield from _look_at_offsets(one, reader, partitions)
    except SinkAway as away:
        yield Finding("fault", WHAT, f"{source.name}: {away}", HINT)
    except Stopped as question:
        yield Finding("fault", WHAT, f"{source.name}: {question}", "answer its question")


def _look_at_offsets(one: Examined, reader: Reader, partitions: list[int]) -> Iterator[Finding]:
    name, known = one.source.name, one.known
    ends = reader.ends_of(partitions)
    away = [str(partition) for partition in partitions if partition not in ends]
    if away:
        text = f"{name}: partitions {', '.join(away)} of {one.source.topic} have no leader"
        yield Finding("warning", WHAT, text, "start the brokers that hold them")
    first = reader.offsets(list(ends), "earliest")
    gone = [at for at, place in known.items() if at in first and place.next_offset < first[at]]
    for at in gone:
        text = (
            f"{name}: offset {known[at].next_offset} of partition {at} was deleted before it was "
            f"read, and {first[at]} is the first"
        )
        yield Finding("fault", WHAT, text, f"outbox-relay connectors seek {name} --from earliest")
    if gone:
        return
    waiting = {at: first[at] for at in ends if first[at] < ends[at]}
    if waiting:
        # Only reading shows that it may be read.
        reader.read_from(waiting)
        try:
            reader.wait(READ_SECONDS)
        except OffsetGone:
            # It was deleted between the two questions.
            pass
        except SinkAway as denied:
            yield Finding("fault", WHAT, f"{name}: {denied}", GRANT)
            return
    lag = sum(max(ends[at] - known[at].next_offset, 0) for at in ends if at in known)
    yield ok(WHAT, f"{name} can read its topic, and {lag} records wait")
