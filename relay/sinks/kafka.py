"""Kafka: a run is produced as it is read, and confirmed by one barrier at its end."""

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from relay import encoding
from relay.sink import (
    REPLAYED_HEADER,
    Blocked,
    Dead,
    Outcome,
    Row,
    SinkAway,
    Stopped,
    Transactions,
)
from relay.sinks.cloudevents import CloudEvents, Headers
from relay.sinks.reports import Failures, Refused, Reports
from relay.sinks.topics import ASK_TIMEOUT_SECONDS, TOPIC_ERRORS, Missing, Topic, Topics

# librdkafka's default, and what a batch costs besides its messages.
BATCH_BYTES = 1_000_000
BATCH_OVERHEAD_BYTES = 512
# Payloads so far below their topic's limit need no closer look; and what each header costs.
COARSE_BYTES = 8192
HEADER_OVERHEAD_BYTES = 8
# No refusal has shortened the runs.
ANY_LENGTH = 1 << 60
# How far behind a message whose channel is unknown it is looked for others of that kind.
LOOK_AHEAD_MESSAGES = 1000
# What is written to a channel for which there is no room among those that wait is dead, until room
# is looked for again. So many letters that nobody has to be asked for in one run.
NO_ROOM = "TOO_MANY_WAITING_CHANNELS"
MOST_GIVEN_UP = 1000
GIVEN_UP_SECONDS = 30.0
# So is what prefix and channel together would send to the topic of the relay's own cursors.
OWN_TOPIC = "TOPIC_IS_THE_RELAYS_OWN"

# A broker says these of a message (or of the batch that it came in), and would say them for ever.
NEVER = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_MSG_SIZE,
        KafkaError.INVALID_MSG,
        KafkaError.INVALID_RECORD,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.RECORD_LIST_TOO_LARGE,
        KafkaError._INVALID_DIFFERENT_RECORD,
    }
)
# A producer says these after a refusal, of every message that comes behind it.
STOPPED = frozenset({KafkaError._GAPLESS_GUARANTEE, KafkaError._FATAL, KafkaError._STATE})
# What the relay itself threw away.
PURGED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})


class Route(msgspec.Struct, frozen=True):
    """A topic with the producer that serves it, and `produce` for it: one lookup a message.

    A batch above its topic's limit would be refused with all its good messages, so each limit has
    a batch size of its own. Payload and own headers above `careful_bytes` may be too large in all.
    """

    topic: Topic
    batch_bytes: int
    careful_bytes: int
    producer: Producer
    produce: Callable[..., None]


class Wire(Protocol):
    """The producers that runs go through."""

    @property
    def transactions(self) -> Transactions | None:
        """Those of a sink that delivers exactly once."""

    @property
    def routes(self) -> dict[bytes, Route]:
        """By channel, for as long as their producers live."""

    @property
    def reports(self) -> Reports:
        """Of all its producers."""

    def any(self) -> Producer | AdminClient:
        """A client to ask the cluster with."""

    def begin(self) -> None:
        """A run begins."""

    def get(self, batch_bytes: int) -> Producer | None:
        """One whose batches are at most so large; None: from the next run on."""

    def alone(self, route: Route) -> Producer:
        """One for a message that goes while no other is in flight."""

    def barrier(self) -> None:
        """Returns when everything that was produced is acknowledged.

        Raises Refused, and SinkAway where that takes too long.
        """

    def purge(self) -> Failures:
        """Nothing that was produced and not confirmed arrives from now on; what failed before."""

    def refused(self, *, alone: bool) -> Failures:
        """The same after Refused, where one message may have been `alone`."""

    def close(self) -> None:
        """Ends all producers."""


class Progress:
    """How far a run has come. Its rows are not kept: nothing needs them again."""

    def __init__(self) -> None:
        self.first_id = 0
        self.last_id = 0
        self.alone = False
        self.bytes = 0
        self.created_at: list[int] = []
        self.dead: list[Dead] = []
        self.stopped: Stopped | None = None


class KafkaSink:
    """One cluster. The broker's word on a message is believed only of one that was sent alone.

    So a run ends before a message that may be too large, which is a run of its own; and a run of
    which a batch was refused is given up, and the next one is half as long.
    """

    def __init__(self, wire: Wire, topics: Topics, event_source: str) -> None:
        self.transactions = wire.transactions
        self._wire = wire
        self._topics = topics
        self._events = CloudEvents(event_source)
        self._most_messages = ANY_LENGTH
        self._given_up: dict[bytes, float] = {}
        self._has_topics_until = float("-inf")

    def open(self) -> None:
        try:
            self._wire.any().list_topics(timeout=ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            raise self._wire.reports.away(failed.args[0].str()) from failed

    def close(self) -> None:
        self._wire.close()

    def blocked(self, channel: str) -> bool:
        return self._topics.is_missing(channel.encode())

    def give_up(self, channels: Iterable[str]) -> bool:
        now = time.monotonic()
        if now >= self._has_topics_until:
            try:
                topics = self._wire.any().list_topics(timeout=ASK_TIMEOUT_SECONDS).topics
            except KafkaException as failed:
                raise self._wire.reports.away(failed.args[0].str()) from failed
            if all(name.startswith("__") for name in topics):
                # A broker that has just started may know no topic yet.
                return False
            self._has_topics_until = now + GIVEN_UP_SECONDS
        ends_at = now + GIVEN_UP_SECONDS
        if len(self._given_up) > MOST_GIVEN_UP:
            self._given_up.clear()
        self._given_up.update((channel.encode(), ends_at) for channel in channels)
        return True

    def deliver(self, rows: Iterable[Row]) -> Outcome:
        progress = Progress()
        try:
            self._wire.begin()
            self._produce(iter(rows), progress)
            self._wire.barrier()
            self._most_messages = min(self._most_messages * 2, ANY_LENGTH)
        except Refused:
            self._give_up(progress)
        except BaseException:
            # Nothing may still be on its way when the caller lets the cursor's lock go.
            self._wire.purge()
            raise
        return Outcome(
            messages=len(progress.created_at),
            bytes=progress.bytes,
            created_at=progress.created_at,
            dead=progress.dead,
            stopped=progress.stopped,
            last_id=progress.last_id,
        )

    def _produce(self, rows: Iterator[Row], progress: Progress) -> None:
        """Produces rows up to one that can't go with them, which `progress.stopped` then names."""
        routes, headers_of = self._wire.routes, self._events.headers
        created_at = progress.created_at
        # How many more may go: none behind one that goes alone, nor behind a dead one.
        room = self._most_messages
        careful = room == 1
        for row in rows:
            message_id, channel, type_, key, unique, own, content_type, payload, at, marks = row
            route = routes.get(channel)
            if route is None:
                if (doom := self._death(channel)) is None:
                    progress.stopped = Stopped(message_id, self._look_ahead(channel, rows))
                    return
            else:
                doom = None
                try:
                    headers = headers_of(type_, unique, own, content_type, at)
                except Exception as wrong:
                    doom = encoding.NOT_ENCODABLE, encoding.fault(wrong)
                if key is None and route.topic.compacted:
                    name = route.topic.name
                    doom = (
                        "INVALID_RECORD",
                        f"topic {name} is compacted: a message needs a group key",
                    )
            if route is None or doom is not None:
                # Nobody need be asked, so that the run goes on; but a transaction carries messages
                # or letters, and never both.
                assert doom is not None
                mixed = created_at and self.transactions is not None
                if mixed or len(progress.dead) >= MOST_GIVEN_UP:
                    progress.stopped = Stopped(message_id)
                    return
                progress.dead.append(Dead(message_id, *doom))
                room = room if self.transactions is None else 0
                continue
            if marks:
                headers[REPLAYED_HEADER] = b"true"
            produce = route.produce
            if careful or not room or len(payload) + len(own or b"") > route.careful_bytes:
                alone = careful or _weight(row, headers) > route.topic.limit_bytes
                if not room or (created_at and alone):
                    progress.stopped = Stopped(message_id)
                    return
                if alone:
                    produce = partial(self._wire.alone(route).produce, route.topic.name)
                    room = 1
                    progress.alone = True
            # By position: names, the missing ones too, would be looked up for every message. In
            # between stand partition, callback, on_delivery and timestamp, as they are by default.
            try:
                produce(payload, key, -1, None, None, 0, headers)
            except (BufferError, KafkaException) as failed:
                again = partial(produce, payload, key, -1, None, None, 0, headers)
                producer = self._wire.alone(route) if progress.alone else route.producer
                error = self._insist(producer, again, failed)
                if error is not None:
                    if created_at:
                        progress.stopped = Stopped(message_id)
                        return
                    progress.dead.append(Dead(message_id, error.name(), error.str()))
                    room = 0
                    continue
            if not created_at:
                progress.first_id = message_id
            created_at.append(at)
            progress.last_id = message_id
            progress.bytes += len(payload)
            room -= 1

    def _insist(
        self,
        producer: Producer,
        produce: Callable[[], None],
        failed: BufferError | KafkaException,
    ) -> KafkaError | None:
        """Until the full queue takes the message; why it never will, or None once it went."""
        reports = self._wire.reports
        deadline = reports.deadline()
        while True:
            if isinstance(failed, KafkaException):
                error: KafkaError = failed.args[0]
                if error.code() in NEVER:
                    return error
                if error.code() in STOPPED:
                    raise Refused from failed
                raise SinkAway(error.str()) from failed
            reports.make_room(producer, deadline)
            try:
                produce()
            except (BufferError, KafkaException) as again:
                failed = again
            else:
                return None

    def _give_up(self, progress: Progress) -> None:
        """Something was refused: nothing of the run counts. What had arrived will be repeated.

        One that was sent alone is dead. Raises SinkAway where it was not about the messages.
        """
        channels = {route.topic.name: channel for channel, route in self._wire.routes.items()}
        failures = self._wire.refused(alone=progress.alone)
        sent = len(progress.created_at)
        lost_topic, unnamed, refusal = False, False, None
        for error, message in failures:
            if error.code() in TOPIC_ERRORS and message is None:
                unnamed = True
            elif error.code() in TOPIC_ERRORS and message is not None:
                # From now on its channel is blocked.
                self._topics.refused(channels[str(message.topic())], error.str())
                lost_topic = True
            elif error.code() in NEVER:
                refusal = error
            elif error.code() not in PURGED:
                raise SinkAway(error.str())
        # A producer that stops at a refusal may swallow the report of it; others do not.
        blameless = refusal is None and not lost_topic and not unnamed
        if blameless and (progress.alone or self.transactions is not None):
            raise self._wire.reports.away("the messages were refused, and no reason was given")
        if progress.alone and refusal is not None:
            progress.dead.append(Dead(progress.first_id, refusal.name(), refusal.str()))
        else:
            progress.stopped = Stopped(progress.first_id)
            progress.dead = [one for one in progress.dead if one.message_id < progress.first_id]
            if not lost_topic:
                self._most_messages = max(sent // 2, 1)
        progress.created_at, progress.bytes = [], 0

    def _look_ahead(self, channel: bytes, rows: Iterator[Row]) -> tuple[Blocked, ...]:
        """Looks up the topics of all unknown channels from here on; which of them take nothing.

        The others have routes from the next run on. Together, because each look holds up everybody.
        """
        channels = {channel} | {row[1] for row in islice(rows, LOOK_AHEAD_MESSAGES)}
        channels = {one for one in channels - self._wire.routes.keys() if self._death(one) is None}
        self._wire.reports.heartbeat.beat()
        blocked = []
        for one, found in self._topics.look_up(channels).items():
            if isinstance(found, Missing):
                blocked.append(Blocked(one.decode(), found.reason or ""))
            else:
                self._route(one, found)
        return tuple(blocked)

    def _route(self, channel: bytes, topic: Topic) -> None:
        batch_bytes = min(BATCH_BYTES, max(topic.limit_bytes - BATCH_OVERHEAD_BYTES, 1))
        producer = self._wire.get(batch_bytes)
        if producer is None:
            # It is there from the next run on.
            return
        self._wire.routes[channel] = Route(
            topic,
            batch_bytes,
            topic.limit_bytes - COARSE_BYTES,
            producer,
            partial(producer.produce, topic.name),
        )

    def _death(self, channel: bytes) -> tuple[str, str] | None:
        """Reason and detail of the letters of a channel whose messages go nowhere now."""
        if self._topics.is_own(channel):
            own = self._topics.own
            detail = f"topic {own} is the relay's own: change the subscription's topic_prefix"
            return OWN_TOPIC, detail
        ends_at = self._given_up.get(channel)
        if ends_at is not None and time.monotonic() < ends_at:
            return NO_ROOM, "its topic is missing as well"
        return None


def _weight(row: Row, headers: Headers) -> int:
    """At most so many bytes weighs a record batch of this message alone."""
    size = len(row[7]) + len(row[3] or b"") + BATCH_OVERHEAD_BYTES
    for name, value in headers.items():
        # Own headers are text: at most four bytes a character.
        size += len(name) + len(value or b"") * (1 if isinstance(value, bytes) else 4)
        size += HEADER_OVERHEAD_BYTES
    return size
