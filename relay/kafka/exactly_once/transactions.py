"""Kafka's transactions: a producer for each cursor, whose transactions carry the cursor as well.

A transaction's offset has the cursor in its metadata: partition 0 of one topic to which no message
is ever written, in a consumer group for each cursor. The group is named as the transactional id is,
without its generation.
https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from relay.kafka import errors
from relay.kafka.exactly_once.hanging import end_hanging
from relay.kafka.exactly_once.note import Pending, read_note
from relay.kafka.producers import CONSTANTS, LIBRARY, discard
from relay.kafka.reports import Failures, Refused, Reports, nothing, said
from relay.kafka.routes import BATCH_BYTES, Route, Routes
from relay.kafka.topic import ASK_TIMEOUT_SECONDS
from relay.kafka.topic_names import TopicNames
from relay.log.sink import GENERATION, SinkAway

# The one topic that the relay makes, behind RELAY_TOPIC_PREFIX.
CURSORS = "outbox.cursors"
# A zombie's open transaction holds up read_committed consumers until its cursor is claimed again or
# this is over; it has to outlast a run's waits. Brokers allow 15 minutes.
MIN_TIMEOUT_SECONDS = 60.0
MAX_TIMEOUT_SECONDS = 900.0
SLICE_SECONDS = 1.0
ABORT_SECONDS = 2.0


class Owner:
    """One cursor's producer, since it fenced all others."""

    def __init__(self, properties: dict[str, Any], reports: Reports, batch_bytes: int) -> None:
        self.batch_bytes = batch_bytes
        self.routes = Routes()
        # Names the cursor's consumer group to a transaction.
        self.group: Any = None
        # The cursor's checkpoint as its owner knows it; None while a run is in doubt.
        self.token: int | None = None
        self.begun = False
        # No callback of the producer's knows its owner: in a circle it would last until the next
        # collection, with its threads and sockets.
        shaken = self._shaken = threading.Event()

        def on_error(error: KafkaError) -> None:
            shaken.set()
            reports.on_error(error)

        self.producer = Producer(
            {
                **properties,
                **reports.callbacks,
                "error_cb": on_error,
                "batch.size": batch_bytes,
            }
        )

    def check_shaken(self) -> bool:
        """Whether librdkafka has lost a connection since the last run, and may not know it anew.

        It remembers the group's coordinator and may wait without end for one that it gave up:
        https://github.com/confluentinc/librdkafka/issues/5511. A new producer asks again.
        """
        if not self._shaken.is_set():
            self.producer.poll(0)
        return self._shaken.is_set()


class Transactions:
    """The transactions of one subscription's cursors in one cluster."""

    def __init__(
        self,
        properties: dict[str, Any],
        reports: Reports,
        topic_prefix: str,
        most_owners: int | None = None,
    ) -> None:
        """Of more cursors than `most_owners` it owns those of the latest runs."""
        self._properties = properties
        self._most_owners = most_owners
        self.reports = reports
        self._topic = topic_prefix + CURSORS
        asking: dict[str, Any] = {**properties, "error_cb": reports.on_error}
        self._admin = AdminClient(asking)
        self._made = False
        seconds = max(MIN_TIMEOUT_SECONDS, 3 * reports.patience_seconds)
        self._timeout_ms = int(min(seconds, MAX_TIMEOUT_SECONDS) * 1000)
        self._owners: dict[str, Owner] = {}
        self._name = ""
        # One producer takes a whole run, so the smallest limit of all topics is that of all.
        self._batch_bytes = BATCH_BYTES

    @property
    def transactions(self) -> "Transactions":
        return self

    # What a run claims by.

    def take(self, name: str, token: int) -> bool:
        self._name = name
        owner = self._owners.pop(name, None)
        if owner is not None:
            # Behind all others: the next to go is the first.
            self._owners[name] = owner
        return (
            owner is not None
            and owner.token == token
            and owner.batch_bytes <= self._batch_bytes
            and not owner.check_shaken()
        )

    def fence(self, name: str) -> str | None:
        self._drop(name)
        self._name = name
        while self._most_owners is not None and len(self._owners) >= self._most_owners:
            self._drop(next(iter(self._owners)))
        self._make_topic()
        self._end_former(name)
        properties = {
            **self._properties,
            **CONSTANTS,
            "transactional.id": name,
            "transaction.timeout.ms": self._timeout_ms,
            # No longer than the transaction: a message that expires takes the run with it.
            "message.timeout.ms": self._timeout_ms,
        }
        owner = Owner(properties, self.reports, self._batch_bytes)
        try:
            # One deadline for both: a relay that does nothing for longer loses its session.
            deadline = self.reports.deadline()
            self._try(deadline, owner.producer.init_transactions)
            note = self._read(owner, name, deadline)
        except BaseException:
            discard(owner.producer)
            raise
        self._owners[name] = owner
        return note

    def forget(self, name: str) -> None:
        for one in list(self._owners):
            if one == name or one.startswith(name + GENERATION):
                self._drop(one)

    @property
    def held(self) -> bool:
        owner = self._owners.get(self._name)
        return owner is not None and owner.token is not None

    def own(self, token: int) -> None:
        # An abort that failed has ended the owner; the next claim fences anew.
        if self._name in self._owners:
            self._owner.token = token

    def commit(self, note: str) -> None:
        owner = self._owner
        offset = TopicPartition(self._topic, 0, 0, note)
        try:
            deadline = self.reports.deadline()
            self._try(deadline, owner.producer.send_offsets_to_transaction, [offset], owner.group)
            # From here on only `fence` can tell what became of it.
            owner.token = None
            self._try(deadline, owner.producer.commit_transaction)
        except BaseException:
            self._fail()
            raise
        owner.begun = False

    def abort(self) -> None:
        self._abort(alone=False)

    def _abort(self, *, alone: bool) -> None:
        if self._name in self._owners and self._owner.begun:
            self._fail(alone=alone)

    # What a run is produced by.

    def routes(self, names: TopicNames) -> dict[bytes, Route]:
        return self._owner.routes.of(names)

    def any(self) -> AdminClient:
        return self._admin

    def begin(self) -> None:
        self.reports.take_failures()
        owner = self._owner
        if not owner.begun:
            try:
                owner.producer.begin_transaction()
            except KafkaException as failed:
                self._drop(self._name)
                raise SinkAway(failed.args[0].str()) from failed
            owner.begun = True

    def get(self, batch_bytes: int) -> Producer | None:
        if batch_bytes >= self._owner.batch_bytes:
            return self._owner.producer
        self._batch_bytes = min(self._batch_bytes, batch_bytes)
        return None

    def alone(self, route: Route) -> Producer:
        return route.producer

    def barrier(self, silent: Callable[[], None] = nothing) -> None:
        self.reports.flush(self._owner.producer, self.reports.deadline(), silent)
        self.reports.demand_known()
        if self.reports.failures:
            raise Refused

    def purge(self) -> Failures:
        self.abort()
        return self.reports.take_failures()

    def end_after_refusal(self, *, alone: bool) -> Failures:
        refused = self._refused_topic()
        self._abort(alone=alone)
        failures = self.reports.take_failures()
        if refused is not None and all(error.code() in errors.PURGED for error, _ in failures):
            # What was purged with it had no place in the transaction either.
            topics = {message.topic(): message for _, message in failures if message is not None}
            failures.append((refused, topics.popitem()[1] if len(topics) == 1 else None))
        # What was refused leaves a gap in the producer's sequence numbers, at which the broker
        # would refuse its next messages too.
        self._drop(self._name)
        return failures

    def _refused_topic(self) -> KafkaError | None:
        """Why the transaction takes no topic of its messages, though each report says `purged`.

        It will be aborted, so that an offset more or less does no harm.
        """
        offset = TopicPartition(self._topic, 0, 0, "")
        try:
            group = self._owner.group
            self._owner.producer.send_offsets_to_transaction([offset], group, SLICE_SECONDS)
        except (KafkaException, SystemError) as failed:
            error = said(failed)
            return error if error.code() in errors.MISSING else None
        return None

    def close(self) -> None:
        for name in list(self._owners):
            self._drop(name)

    @property
    def _owner(self) -> Owner:
        owner = self._owners.get(self._name)
        if owner is None:
            raise SinkAway("the session was ended from outside")
        return owner

    def _drop(self, name: str) -> None:
        owner = self._owners.pop(name, None)
        if owner is not None:
            discard(owner.producer)

    def _fail(self, *, alone: bool = False) -> None:
        """After an abortable error the producer goes on; after a fatal one it ends."""
        owner = self._owner
        owner.begun = False
        # Whatever it was, the topics are looked up anew, by all. Of one message that was refused
        # `alone` no other owner is to know.
        for one in (owner,) if alone else self._owners.values():
            one.routes.clear()
        try:
            if owner.token is None:
                raise SinkAway("it is in doubt whether the transaction was committed")
            deadline = self.reports.deadline(ABORT_SECONDS)
            # It would wait for reports that this thread does not take meanwhile.
            discard(owner.producer)
            self._try(deadline, owner.producer.abort_transaction)
        except Exception:
            # Whatever goes wrong here, the run is given up.
            self._drop(self._name)

    def _try(self, deadline: float, call: Callable[..., Any], *arguments: object) -> None:
        """Calls again while Kafka says that this will do. Raises SinkAway."""
        while True:
            try:
                call(*arguments, SLICE_SECONDS)
            except (KafkaException, SystemError) as failed:
                error = said(failed)
                if not error.retriable() or self.reports.wait_is_over(deadline):
                    raise SinkAway(f"{error.name()}: {error.str()}") from failed
            else:
                return

    def _end_former(self, name: str) -> None:
        """Ends what the generation before left open, where its topics let that be done.

        Consumers of what is committed would else wait for its timeout.
        """
        group, _, generation = name.partition(GENERATION)
        if not generation:
            return
        before = int(generation) - 1
        former = f"{group}{GENERATION}{before}" if before else group
        producer = Producer({**self._properties, "transactional.id": former}, logger=LIBRARY)
        with suppress(KafkaException, SystemError):
            producer.init_transactions(SLICE_SECONDS)
        discard(producer)

    def _read(self, owner: Owner, name: str, deadline: float) -> str | None:
        """The metadata of the group's offset; `owner` learns what names the group."""
        group = name.partition(GENERATION)[0]
        try:
            note, owner.group = read_note(
                self._properties, group, self._topic, self.reports, deadline
            )
        except Pending:
            end_hanging(self._properties, name, self._topic)
            raise
        return note

    def _make_topic(self) -> None:
        if self._made:
            return
        try:
            known = self._admin.list_topics(self._topic, timeout=ASK_TIMEOUT_SECONDS)
            if known.topics[self._topic].error is not None:
                topic = NewTopic(self._topic, num_partitions=1)
                self._admin.create_topics([topic])[self._topic].result(ASK_TIMEOUT_SECONDS)
        except (KafkaException, TimeoutError) as failed:
            error = failed.args[0] if isinstance(failed, KafkaException) else None
            if error is None or error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                words = error.str() if error else "no answer"
                raise SinkAway(
                    f"topic {self._topic}: {words}; let the relay's user make it, or make it with "
                    "one partition"
                ) from failed
        self._made = True
