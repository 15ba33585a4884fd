"""Kafka: a run is produced as it is read, and confirmed by one barrier at its end."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from relay.settings import Settings
from relay.sink import Blocked, Dead, Outcome, Row, SinkAway, Stopped
from relay.sinks.cloudevents import CloudEvents, Headers
from relay.sinks.producers import DEFAULTS, NEVER, BatchRefused, Producers
from relay.sinks.topics import ASK_TIMEOUT_SECONDS, TOPIC_ERRORS, Missing, Topic, Topics

# librdkafka's default, and what a batch costs besides its messages.
BATCH_BYTES = 1_000_000
BATCH_OVERHEAD_BYTES = 512
# Payloads so far below their topic's limit need no closer look; and what each header costs.
COARSE_BYTES = 8192
HEADER_OVERHEAD_BYTES = 8


class Route(msgspec.Struct, frozen=True):
    """A topic with the producer that serves it, and `produce` for it: one lookup a message.

    A batch above its topic's limit would be refused with all its good messages, so each limit has
    a producer of its own. Payload and own headers above `careful_bytes` may be too large in all.
    """

    topic: Topic
    batch_bytes: int
    careful_bytes: int
    producer: Producer
    produce: Callable[..., None]


class KafkaSink:
    """One cluster. The broker's word on a message is believed only of one that was sent alone."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        properties = {**DEFAULTS, **settings.kafka}
        self._grace_seconds = settings.topic_grace_seconds
        self._events = CloudEvents(settings.event_source)
        self._topics = Topics(properties, settings.topic_prefix)
        self._producers = Producers(properties, settings.barrier_seconds, stop)
        self._routes: dict[bytes, Route] = {}

    def open(self) -> None:
        try:
            self._producers.get(BATCH_BYTES).list_topics(timeout=ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            raise self._producers.away(failed.args[0].str()) from failed

    def close(self) -> None:
        self._purge()

    def blocked(self, channel: str) -> Blocked | None:
        found = self._route(channel.encode())
        return found if isinstance(found, Blocked) else None

    def deliver(self, rows: Iterable[Row]) -> Outcome:
        self._producers.failures.clear()
        sent: list[Row] = []
        dead: list[Dead] = []
        try:
            try:
                stopped = self._send(iter(rows), sent, dead)
            except BatchRefused:
                again = {row[0] for row in sent}
                dead = [letter for letter in dead if letter.message_id not in again]
                stopped = self._again(sent, dead, self._producers.deadline())
        except BaseException:
            # Nothing may still be on its way when the caller lets the cursor's lock go.
            self._purge()
            raise
        if dead or stopped is not None:
            end = stopped.message_id if stopped else sys.maxsize
            dead = [letter for letter in dead if letter.message_id < end]
            gone = {letter.message_id for letter in dead}
            sent = [row for row in sent if row[0] < end and row[0] not in gone]
        return Outcome(
            messages=len(sent),
            bytes=sum([len(row[7]) for row in sent]),
            created_at=[row[8] for row in sent],
            dead=dead,
            stopped=stopped,
        )

    def _send(self, rows: Iterator[Row], sent: list[Row], dead: list[Dead]) -> Stopped | None:
        """Produces the rows, and waits for their acknowledgement. Raises BatchRefused."""
        stopped = self._produce(rows, sent, dead)
        self._producers.barrier()
        return self._stop_at_lost_topic(sent) or stopped

    def _produce(self, rows: Iterator[Row], sent: list[Row], dead: list[Dead]) -> Stopped | None:
        routes, headers_of = self._routes, self._events.headers
        for row in rows:
            message_id, channel, type_, key, idempotency_key, own, content_type, payload, at = row
            route = routes.get(channel)
            if route is None:
                found = self._route(channel)
                if isinstance(found, Blocked):
                    self._look_ahead(rows)
                    return Stopped(message_id, found)
                route = found
            if key is None and route.topic.compacted:
                detail = f"topic {route.topic.name} is compacted: a message needs a group key"
                dead.append(Dead(message_id, "INVALID_RECORD", detail))
                continue
            # Noted before it is tried: where a batch is refused, these are sent again.
            sent.append(row)
            headers = headers_of(type_, idempotency_key, own, content_type, at)
            size = len(payload) + len(own or b"")
            if size > route.careful_bytes and _weight(row, headers) > route.topic.limit_bytes:
                self._producers.barrier()
                lost = self._stop_at_lost_topic(sent)
                stopped = lost or self._alone(route, row, headers, dead)
                if stopped is not None:
                    return stopped
                continue
            try:
                route.produce(payload, key, headers=headers)
            except BufferError:
                self._produce_patiently(route, row, headers)
            except KafkaException as failed:
                error = failed.args[0]
                if error.code() in (KafkaError._GAPLESS_GUARANTEE, KafkaError._FATAL):
                    raise BatchRefused from failed
                if error.code() not in NEVER:
                    raise SinkAway(error.str()) from failed
                dead.append(Dead(message_id, error.name(), error.str()))
        return None

    def _look_ahead(self, rows: Iterator[Row]) -> None:
        """Behind a channel that has to wait, others may have to as well: their grace runs now."""
        for row in rows:
            if row[1] not in self._routes:
                self._route(row[1])

    def _produce_patiently(self, route: Route, row: Row, headers: Headers) -> None:
        deadline = self._producers.deadline()
        while True:
            self._producers.make_room(route.producer, deadline)
            try:
                return route.produce(row[7], row[3], headers=headers)
            except BufferError:
                continue

    def _alone(self, route: Route, row: Row, headers: Headers, dead: list[Dead]) -> Stopped | None:
        """Sends one message while nothing else is in flight, by a producer that may leave a gap."""
        producer = self._producers.get(route.batch_bytes, gapless=False)
        try:
            producer.produce(route.topic.name, row[7], row[3], headers=headers)
        except KafkaException as failed:
            error = failed.args[0]
            if error.code() not in NEVER:
                raise SinkAway(error.str()) from failed
            dead.append(Dead(row[0], error.name(), error.str()))
            return None
        self._producers.barrier()
        for error, _ in self._producers.failures:
            if error.code() not in TOPIC_ERRORS:
                dead.append(Dead(row[0], error.name(), error.str()))
                self._producers.failures.clear()
                return None
        return self._stop_at_lost_topic([row])

    def _again(self, rows: list[Row], dead: list[Dead], deadline: float) -> Stopped | None:
        """After a refusal: the same again by what the topics say now, then in halves, down to the
        one message that is to blame. What had arrived is repeated; nothing is overtaken.

        Raises SinkAway where that takes too long: half a run gets through sooner.
        """
        if time.monotonic() > deadline:
            raise SinkAway("a refused run takes too long to take apart")
        self._purge()
        letters = len(dead)
        try:
            return self._send(iter(rows), [], dead)
        except BatchRefused:
            del dead[letters:]
        if len(rows) > 1:
            middle = len(rows) // 2
            first, second = rows[:middle], rows[middle:]
            return self._again(first, dead, deadline) or self._again(second, dead, deadline)
        self._purge()
        [row] = rows
        route = self._route(row[1])
        if isinstance(route, Blocked):
            return Stopped(row[0], route)
        return self._alone(route, row, self._events.of(row), dead)

    def _stop_at_lost_topic(self, sent: list[Row]) -> Stopped | None:
        """Where a topic went away in the middle of the run: before its first message."""
        reasons = {message.topic(): error.str() for error, message in self._producers.failures}
        self._producers.failures.clear()
        for row in sent if reasons else ():
            name = self._routes[row[1]].topic.name
            if name in reasons:
                del self._routes[row[1]]
                return Stopped(
                    row[0], self._waits(row[1], self._topics.refused(row[1], reasons[name]))
                )
        return None

    def _route(self, channel: bytes) -> Route | Blocked:
        found = self._topics.look_up(channel, self._producers.get(BATCH_BYTES))
        if isinstance(found, Missing):
            return self._waits(channel, found)
        batch_bytes = min(BATCH_BYTES, max(found.limit_bytes - BATCH_OVERHEAD_BYTES, 1))
        producer = self._producers.get(batch_bytes)
        route = self._routes[channel] = Route(
            found,
            batch_bytes,
            found.limit_bytes - COARSE_BYTES,
            producer,
            partial(producer.produce, found.name),
        )
        return route

    def _waits(self, channel: bytes, missing: Missing) -> Blocked:
        seconds = time.monotonic() - missing.since
        lasting = seconds >= self._grace_seconds
        return Blocked(channel.decode(), missing.reason, seconds, lasting)

    def _purge(self) -> None:
        self._routes.clear()
        self._producers.purge()


def _weight(row: Row, headers: Headers) -> int:
    """At most so many bytes weighs a record batch of this message alone."""
    size = len(row[7]) + len(row[3] or b"") + BATCH_OVERHEAD_BYTES
    for name, value in headers.items():
        # Own headers are text: at most four bytes a character.
        size += len(name) + len(value or b"") * (1 if isinstance(value, bytes) else 4)
        size += HEADER_OVERHEAD_BYTES
    return size
