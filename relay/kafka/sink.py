"""Kafka: a run is produced as it is read, and confirmed by one barrier at its end."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

from confluent_kafka import KafkaError, KafkaException, Producer

from relay.kafka import errors
from relay.kafka.headers import CloudEvents
from relay.kafka.refused_channels import MAX_UNASKED_DEAD, DeadReason, Undeliverable
from relay.kafka.reports import Refused
from relay.kafka.routes import BATCH_BYTES, Route, Wire
from relay.kafka.sizes import batch_bytes
from relay.kafka.topic import ASK_TIMEOUT_SECONDS, Closed, Topic
from relay.kafka.topics import Missing, Topics
from relay.kafka.unwritable import Unwritable, UnwritableCheck
from relay.log import encoding
from relay.log.message import CHANNEL, REPLAYED_HEADER, Row
from relay.log.sink import MAX_NOTED, Blocked, Dead, Outcome, SinkAway, Stopped

# What a batch costs besides its messages.
BATCH_OVERHEAD_BYTES = 512
# Payloads so far below their topic's limit need no closer look.
COARSE_BYTES = 8192
# No refusal has shortened the runs.
ANY_LENGTH = 1 << 60
# How far behind a message whose channel is unknown it is looked for others of that kind.
LOOK_AHEAD_MESSAGES = 5000


class Progress:
    """How far a run has come. Its rows are not kept: nothing needs them again."""

    def __init__(self) -> None:
        self.first_id = 0
        self.last_id = 0
        self.alone = False
        self.bytes = 0
        self.created_at: list[int] = []
        # Of the messages that were sent; and of those whose topics were asked for their limits.
        self.channels: set[bytes] = set()
        self.asked: set[bytes] = set()
        self.dead: list[Dead] = []
        self.stopped: Stopped | None = None

    def take_back(self, blocked: tuple[Blocked, ...] = (), *, stuck: bool = False) -> None:
        """Nothing counts from the first message that was sent on."""
        self.stopped = Stopped(self.first_id, blocked, stuck=stuck)
        self.dead = [one for one in self.dead if one.message_id < self.first_id]
        self.created_at, self.bytes = [], 0


class KafkaSink:
    """One cluster. The broker's word on a message is believed only of one that was sent alone.

    So a run of which a batch was refused is given up, and the next one is half as long. What is too
    large for its topic's limit needs no word, as long as nothing is compressed: where it is
    (`compressing`), such a message is a run of its own.
    """

    def __init__(self, wire: Wire, topics: Topics, event_source: str, *, compressing: bool) -> None:
        self.transactions = wire.transactions
        self._wire = wire
        self._topics = topics
        self._events = CloudEvents(event_source)
        self._compressing = compressing
        self._most_messages = ANY_LENGTH
        self._undeliverable = Undeliverable(wire, topics)

    def open(self) -> None:
        try:
            self._wire.any().list_topics(timeout=ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            raise self._wire.reports.away(failed.args[0].str()) from failed

    def close(self) -> None:
        self._wire.reports.close()
        self._wire.close()

    def check_blocked(self, channel: str) -> bool:
        return self._topics.check_missing(channel.encode())

    @property
    def held_seconds(self) -> float:
        return self._wire.reports.held_seconds

    def give_up(self, channels: Iterable[str]) -> bool:
        return self._undeliverable.add(channels)

    def deliver(self, rows: Iterable[Row]) -> Outcome:
        progress = Progress()
        try:
            self._wire.reports.demand_open()
            self._wire.begin()
            self._produce(iter(rows), progress)
            self._confirm(progress)
            if progress.created_at:
                self._most_messages = min(self._most_messages * 2, ANY_LENGTH)
        except Refused:
            self._give_up(progress)
        except Unwritable as topics:
            self._set_aside(progress, topics)
        except BaseException as fault:
            # Nothing may still be on its way when the caller lets the cursor's lock go.
            self._wire.purge()
            if isinstance(fault, SinkAway):
                fault.messages = len(progress.created_at) or None
            raise
        return Outcome(
            messages=len(progress.created_at),
            bytes=progress.bytes,
            created_at=progress.created_at,
            dead=progress.dead,
            stopped=progress.stopped,
            last_id=progress.last_id,
        )

    def _confirm(self, progress: Progress) -> None:
        # In a transaction that was not ended whole, another run's topics may be what is waited for.
        exactly_once = self.transactions is not None
        channels = self._wire.routes if exactly_once else progress.channels
        self._wire.barrier(UnwritableCheck(self._topics, channels).look)
        self._wire.reports.demand_open()

    def _produce(self, rows: Iterator[Row], progress: Progress) -> None:
        """Produces rows up to one that can't go with them, which `progress.stopped` then names."""
        routes, headers_of = self._wire.routes, self._events.headers
        created_at, sent = progress.created_at, progress.channels.add
        # How many more may go: none behind one that goes alone, nor behind a dead one.
        room = self._most_messages
        careful = room == 1
        most_dead = MAX_UNASKED_DEAD if self.transactions is None else MAX_NOTED
        for row in rows:
            message_id, channel, type_, key, unique, own, content_type, payload, at, marks = row
            route, alone = routes.get(channel), careful
            if route is None:
                if (dead_reason := self._undeliverable.reason_for(channel)) is None:
                    progress.stopped = Stopped(message_id, self._look_ahead(channel, rows))
                    return
            else:
                dead_reason = None
                try:
                    headers = headers_of(type_, unique, own, content_type, at)
                except Exception as wrong:
                    dead_reason = encoding.NOT_ENCODABLE, encoding.fault(wrong)
                else:
                    if marks:
                        headers[REPLAYED_HEADER] = b"true"
                    if key is None and route.topic.compacted:
                        dead_reason = _without_key(route.topic)
                    elif len(payload) + len(own or b"") > route.careful_bytes:
                        size = batch_bytes(row, headers)
                        if size > route.topic.limit_bytes:
                            if not self._check_route(channel, route, progress):
                                progress.stopped = Stopped(message_id)
                                return
                            # How large it will be is known to the broker alone.
                            alone |= self._compressing
                            dead_reason = (
                                None if self._compressing else _too_large(route.topic, size)
                            )
            if route is None or dead_reason is not None:
                # The cluster need not be asked, so the run goes on.
                assert dead_reason is not None
                if len(progress.dead) >= most_dead:
                    progress.stopped = Stopped(message_id)
                    return
                progress.dead.append(Dead(message_id, *dead_reason))
                continue
            produce = route.produce
            if alone or not room:
                if not room or created_at:
                    progress.stopped = Stopped(message_id)
                    return
                produce = partial(self._wire.alone(route).produce, route.topic.name)
                room = 1
                progress.alone = True
            if not created_at:
                progress.first_id = message_id
            sent(channel)
            # By position: names, the missing ones too, would be looked up for every message. In
            # between stand partition, callback, on_delivery and timestamp, as they are by default.
            try:
                produce(payload, key, -1, None, None, 0, headers)
            except (BufferError, KafkaException) as failed:
                again = partial(produce, payload, key, -1, None, None, 0, headers)
                producer = self._wire.alone(route) if progress.alone else route.producer
                error = self._insist(producer, again, failed, channel)
                if error is not None:
                    if created_at:
                        progress.stopped = Stopped(message_id)
                        return
                    progress.dead.append(Dead(message_id, error.name(), error.str()))
                    room = 0
                    continue
            created_at.append(at)
            progress.last_id = message_id
            progress.bytes += len(payload)
            room -= 1

    def _check_route(self, channel: bytes, route: Route, progress: Progress) -> bool:
        """Whether a route's topic is what it was; asked once in a run. Else it is dropped."""
        if channel not in progress.asked:
            progress.asked.add(channel)
            self._wire.reports.heartbeat.beat()
            if self._topics.look_up([channel])[channel] != route.topic:
                del self._wire.routes[channel]
                return False
        return True

    def _insist(
        self,
        producer: Producer,
        produce: Callable[[], None],
        failed: BufferError | KafkaException,
        channel: bytes,
    ) -> KafkaError | None:
        """Until the full queue takes the message; why it never will, or None once it went."""
        reports = self._wire.reports
        deadline = reports.deadline()
        while True:
            if isinstance(failed, KafkaException):
                error: KafkaError = failed.args[0]
                if error.code() in errors.NEVER:
                    return error
                if error.code() in errors.BEHIND_A_REFUSAL:
                    raise Refused from failed
                if error.code() in errors.UNWRITABLE:
                    closed = _closed(error)
                    self._topics.note_refused(channel, closed)
                    self._wire.routes.pop(channel, None)
                    raise Unwritable({channel: closed.reason}) from failed
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
        # Those of a producer that is dropped go with it.
        routes = self._wire.routes
        failures = self._wire.end_after_refusal(alone=progress.alone)
        sent = len(progress.created_at)
        lost_topic, unnamed, refusal = False, False, None
        for error, message in failures:
            if error.code() in errors.UNWRITABLE and message is None:
                unnamed = True
            elif error.code() in errors.UNWRITABLE and message is not None:
                # From now on its channel is blocked.
                channel = self._topics.channel(str(message.topic()))
                self._topics.note_refused(channel, _closed(error))
                routes.pop(channel, None)
                lost_topic = True
            elif error.code() in errors.NEVER:
                refusal = error
            elif error.code() not in errors.PURGED | errors.BEHIND_A_REFUSAL:
                raise SinkAway(error.str())
        # A producer that stops at a refusal may swallow the report of it; others do not.
        blameless = refusal is None and not lost_topic and not unnamed
        if blameless and (progress.alone or self.transactions is not None):
            raise self._wire.reports.away("the messages were refused, and no reason was given")
        if progress.alone and refusal is not None:
            progress.dead.append(Dead(progress.first_id, refusal.name(), refusal.str()))
            progress.created_at, progress.bytes = [], 0
            return
        progress.take_back()
        if not lost_topic:
            self._most_messages = max(sent // 2, 1)

    def _set_aside(self, progress: Progress, topics: Unwritable) -> None:
        """The channels of topics that take nothing wait from here on, and the others go anew."""
        self._wire.purge()
        blocked = [
            Blocked(channel.decode(), reason)
            for channel, reason in topics.reasons.items()
            if channel in progress.channels
        ]
        progress.take_back(tuple(blocked), stuck=True)

    def _look_ahead(self, channel: bytes, rows: Iterator[Row]) -> tuple[Blocked, ...]:
        """Looks up the topics of all unknown channels from here on; which of them take nothing.

        The others have routes from the next run on. Together, because each look holds up the whole
        subscription.
        """
        channels = {channel} | {row[CHANNEL] for row in islice(rows, LOOK_AHEAD_MESSAGES)}
        channels = {
            one
            for one in channels - self._wire.routes.keys()
            if self._undeliverable.reason_for(one) is None
        }
        self._wire.reports.heartbeat.beat()
        blocked = []
        for one, found in self._topics.look_up(channels).items():
            if isinstance(found, Missing):
                reason = found.closed.reason if found.closed else ""
                blocked.append(Blocked(one.decode(), reason))
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


def _without_key(topic: Topic) -> DeadReason:
    return "INVALID_RECORD", f"topic {topic.name} is compacted: a message needs a group key"


def _too_large(topic: Topic, size: int) -> DeadReason:
    limit = f"topic {topic.name} takes {topic.limit_bytes} bytes (max.message.bytes)"
    return "MSG_SIZE_TOO_LARGE", f"{limit}; with its headers the message has {size}"


def _closed(error: KafkaError) -> Closed:
    """Of a topic whose message was refused by an error of UNWRITABLE."""
    temporary = error.code() not in errors.MISSING
    return Closed(f"{error.name()}: {error.str()}", temporary)
