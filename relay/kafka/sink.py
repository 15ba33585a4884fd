"""Kafka: a run is produced as it is read, and confirmed by one barrier at its end."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice

from confluent_kafka import KafkaError, KafkaException, Producer

from relay.kafka import errors
from relay.kafka.destination import Destination, Destinations
from relay.kafka.headers import CloudEvents, Headers
from relay.kafka.progress import Progress
from relay.kafka.refused_channels import MAX_UNASKED_DEAD, DeadReason
from relay.kafka.reports import Refused
from relay.kafka.routes import BATCH_BYTES, Route, Wire
from relay.kafka.rules import KAFKA, Rules
from relay.kafka.sizes import batch_bytes
from relay.kafka.topic import ASK_TIMEOUT_SECONDS, Closed, Topic
from relay.kafka.topics import Missing
from relay.kafka.unwritable import Unwritable, UnwritableCheck
from relay.log.cursor import SinkSettings
from relay.log.data_schemas import NONE, DataSchemas
from relay.log.message import CHANNEL, GROUP_KEY, ID, MARKS, PAYLOAD, REPLAYED, REPLAYED_HEADER, Row
from relay.log.path import NOWHERE, OwnPath
from relay.log.sink import MAX_NOTED, Blocked, Dead, Outcome, Page, SinkAway

# What a batch costs besides its messages.
BATCH_OVERHEAD_BYTES = 512
# Payloads so far below their topic's limit need no closer look: what a message may have of headers,
# and the relay's own.
COARSE_BYTES = 24_576
# No refusal has shortened the runs: no run reads so many.
ANY_LENGTH = 1 << 20
# How far behind a message whose channel is unknown it is looked for others of that kind.
LOOK_AHEAD_MESSAGES = 5000


class KafkaSink:
    """One cluster. The broker's word on a message is believed only of one that was sent alone.

    So a run of which a batch was refused is given up, and the next one is half as long. What is too
    large for its topic's limit needs no word, as long as nothing is compressed: where it is
    (`compressing`), such a message is a run of its own. Where one that was sent alone is refused,
    its channel goes on alone: others wait for the first of many.
    """

    def __init__(
        self,
        wire: Wire,
        destinations: Destinations,
        event_source: str,
        rules: Rules = KAFKA,
        path: OwnPath = NOWHERE,
        schemas: DataSchemas = NONE,
        *,
        compressing: bool,
    ) -> None:
        self.transactions = wire.transactions
        self._wire = wire
        self._destinations = destinations
        self._events = CloudEvents(event_source, path, schemas)
        self._rules = rules
        self._compressing = compressing
        # Of cursors of which a batch was refused. Each has a length of its own: another's runs,
        # which arrive, would else lengthen what a refusal has shortened, and it would never be
        # found which message it was.
        self._most_messages: dict[int, int] = {}
        self._most_dead = MAX_UNASKED_DEAD if self.transactions is None else MAX_NOTED

    def open(self) -> None:
        client = self._wire.any()
        try:
            client.list_topics(timeout=ASK_TIMEOUT_SECONDS)
        except KafkaException as failed:
            # Calls back with what is wrong.
            client.poll(0)
            raise self._wire.reports.away(failed.args[0].str()) from failed

    def close(self) -> None:
        self._wire.reports.close()
        self._wire.close()

    def check_blocked(self, settings: SinkSettings, channel: str) -> bool:
        return self._destination(settings).topics.check_missing(channel.encode())

    @property
    def held_seconds(self) -> float:
        return self._wire.reports.held_seconds

    def give_up(self, settings: SinkSettings, channels: Iterable[str]) -> bool:
        return self._destination(settings).undeliverable.add(channels)

    def deliver(
        self,
        pages: Iterable[Page],
        takers: Sequence[SinkSettings],
        *,
        shared: bool = False,
        cursor_id: int = 0,
    ) -> list[Outcome]:
        most = self._most_messages.get(cursor_id, ANY_LENGTH)
        runs = [Progress(self._destination(one), most, shared=shared) for one in takers]
        try:
            self._wire.reports.demand_open()
            self._wire.begin()
            self._produce(iter(pages), runs)
            self._confirm(runs)
            if any(run.messages for run in runs):
                self._lengthen(cursor_id)
        except Refused:
            self._give_up(runs, cursor_id)
        except Unwritable as topics:
            self._set_aside(runs, topics)
        except BaseException as fault:
            # Nothing may still be on its way when the caller lets the cursors' locks go.
            self._wire.purge()
            if isinstance(fault, SinkAway):
                fault.messages = sum(run.messages for run in runs) or None
            raise
        return [run.outcome() for run in runs]

    def _destination(self, settings: SinkSettings) -> Destination:
        return self._destinations.of(settings)

    def _confirm(self, runs: Iterable[Progress]) -> None:
        channels: dict[Destination, set[bytes]] = {}
        for run in runs:
            # In a transaction that was not ended whole, another run's topics may be what is waited
            # for.
            sent = run.channels if self.transactions is None else run.destination.routes
            channels.setdefault(run.destination, set()).update(sent)
        checks = [UnwritableCheck(one.topics, sent) for one, sent in channels.items()]

        def look() -> None:
            for check in checks:
                check.look()

        self._wire.barrier(look)
        self._wire.reports.demand_open()

    def _produce(self, pages: Iterator[Page], runs: Sequence[Progress]) -> None:
        """Produces each page for its takers, up to a message that can't go with those before it."""
        for rows, takers in pages:
            headers = self._events.of_page(rows)
            for taker in takers:
                run = runs[taker]
                if run.stopped is None:
                    # Of several cursors none reads on for itself.
                    following = pages if not run.shared else iter(())
                    self._produce_page(rows, headers, run, following)
            if all(run.stopped is not None for run in runs):
                return

    def _produce_page(
        self,
        rows: Sequence[Row],
        headers: Sequence[Headers | None],
        run: Progress,
        following: Iterator[Page],
    ) -> None:
        """The common message takes the shortest way, and what is unusual in any respect another.

        `following` are the pages behind this one.
        """
        routes, careful, room, begin = run.destination.routes, run.careful, run.room, 0
        for place, row in enumerate(rows):
            _, channel, _, key, _, _, _, payload, _, _, marks = row
            route, made = routes.get(channel), headers[place]
            if (
                careful
                or route is None
                or made is None
                or marks & REPLAYED
                or len(payload) > route.careful_bytes
                or (key is None and route.topic.compacted)
                or place - begin == room
            ):
                run.add(rows[begin:place])
                if not self._produce_one(row, made, run):
                    if run.stopped is None:
                        behind = chain((rows[place:],), (page.rows for page in following))
                        ahead = islice(chain.from_iterable(behind), LOOK_AHEAD_MESSAGES)
                        run.stop(row[ID], self._look_ahead(run.destination, ahead))
                    return
                begin, room = place + 1, run.room
                continue
            # By position: names, the missing ones too, would be looked up for every message. In
            # between stand partition, callback, on_delivery and timestamp, as they are by default.
            try:
                route.produce(payload, key, -1, None, None, 0, made)
            except (BufferError, KafkaException) as failed:
                run.add(rows[begin:place])
                run.try_one(row)
                again = partial(route.produce, payload, key, -1, None, None, 0, made)
                if not self._settle(route.producer, again, failed, row, run):
                    return
                begin, room = place + 1, run.room
        run.add(rows[begin:])

    def _produce_one(self, row: Row, headers: Headers | None, run: Progress) -> bool:
        """One that is unusual. False: the run stops before it, or its channel is unknown."""
        route, alone = run.destination.routes.get(row[CHANNEL]), run.careful
        if route is None:
            reason = run.destination.undeliverable.reason_for(row[CHANNEL])
            return reason is not None and self._end_as_dead_letter(row, reason, run)
        if headers is None:
            return self._end_as_dead_letter(row, self._events.fault(row), run)
        if row[MARKS] & REPLAYED:
            headers = {**headers, REPLAYED_HEADER: b"true"}
        if row[GROUP_KEY] is None and route.topic.compacted:
            return self._end_as_dead_letter(row, _without_key(route.topic), run)
        if len(row[PAYLOAD]) > route.careful_bytes:
            bytes_alone = batch_bytes(row, headers)
            if bytes_alone > route.topic.limit_bytes:
                if not self._check_route(row[CHANNEL], route, run):
                    run.stop(row[ID])
                    return False
                if not self._compressing:
                    return self._end_as_dead_letter(row, _too_large(route.topic, bytes_alone), run)
                # How large it will be is known to the broker alone.
                alone = True
        # None goes behind one that goes alone, nor behind a dead one.
        if run.room == 0 or (alone and (run.messages or run.shared)):
            run.stop(row[ID], alone=alone)
            return False
        producer = route.producer
        if alone:
            producer, run.room, run.alone = self._wire.alone(route), 1, True
        run.try_one(row)
        produce = partial(
            producer.produce,
            route.topic.name,
            row[PAYLOAD],
            row[GROUP_KEY],
            -1,
            None,
            None,
            0,
            headers,
        )
        try:
            produce()
        except (BufferError, KafkaException) as failed:
            return self._settle(producer, produce, failed, row, run)
        run.add((row,))
        return True

    def _end_as_dead_letter(self, row: Row, reason: DeadReason, run: Progress) -> bool:
        """It is dead without a question to the cluster, so the run goes on; False at a bound."""
        if len(run.dead) >= self._most_dead:
            run.stop(row[ID])
            return False
        run.dead.append(Dead(row[ID], *reason))
        return True

    def _settle(
        self,
        producer: Producer,
        produce: Callable[[], None],
        failed: BufferError | KafkaException,
        row: Row,
        run: Progress,
    ) -> bool:
        """Of one that was not taken at once. False: the run stops before it."""
        error = self._insist(producer, produce, failed, row[CHANNEL], run.destination)
        if error is None:
            run.add((row,))
            return True
        if run.messages:
            run.stop(row[ID])
            return False
        run.refuse(error)
        return True

    def _check_route(self, channel: bytes, route: Route, run: Progress) -> bool:
        """Whether a route's topic is what it was; asked once in a run. Else it is dropped."""
        if channel not in run.asked:
            run.asked.add(channel)
            self._wire.reports.heartbeat.beat()
            if run.destination.topics.look_up([channel])[channel] != route.topic:
                del run.destination.routes[channel]
                return False
        return True

    def _insist(
        self,
        producer: Producer,
        produce: Callable[[], None],
        failed: BufferError | KafkaException,
        channel: bytes,
        destination: Destination,
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
                    closed = _closed(error, self._rules, destination.topic_of(channel))
                    destination.topics.note_refused(channel, closed)
                    destination.routes.pop(channel, None)
                    raise Unwritable(destination.topics, {channel: closed.reason}) from failed
                raise SinkAway(error.str()) from failed
            reports.make_room(producer, deadline)
            try:
                produce()
            except (BufferError, KafkaException) as again:
                failed = again
            else:
                return None

    def _lengthen(self, cursor_id: int) -> None:
        most = 2 * self._most_messages.pop(cursor_id, ANY_LENGTH)
        if most < ANY_LENGTH:
            self._most_messages[cursor_id] = most

    def _give_up(self, runs: Sequence[Progress], cursor_id: int) -> None:
        """Something was refused: nothing of the run counts. What had arrived will be repeated.

        One that was sent alone is dead. Raises SinkAway where it was not about the messages.
        """
        alone = runs[0] if runs[0].alone else None
        # Those of a producer that is dropped go with it.
        routes = [run.destination.routes for run in runs]
        failures = self._wire.end_after_refusal(alone=alone is not None)
        lost_topic, unnamed, refusal = False, False, None
        for error, message in failures:
            if error.code() in self._rules.away:
                raise SinkAway(self._rules.told(error))
            if error.code() in errors.UNWRITABLE and message is None:
                unnamed = True
            elif error.code() in errors.UNWRITABLE and message is not None:
                topic = str(message.topic())
                _note_refused(topic, _closed(error, self._rules, topic), runs, routes)
                lost_topic = True
            elif error.code() in errors.NEVER:
                refusal = error
            elif error.code() not in errors.PURGED | errors.BEHIND_A_REFUSAL:
                raise SinkAway(error.str())
        # A producer that stops at a refusal may swallow the report of it; others do not.
        blameless = refusal is None and not lost_topic and not unnamed
        if blameless and (alone is not None or self.transactions is not None):
            raise self._wire.reports.away("the messages were refused, and no reason was given")
        if alone is not None and refusal is not None:
            alone.refuse(refusal)
            return
        sent = sum(run.messages for run in runs)
        refused = {
            str(message.topic())
            for error, message in failures
            if message is not None and error.code() in errors.NEVER
        }
        for run in runs:
            # One whose topic it was goes alone, or all where no topic is named.
            named = any(run.destination.channels_of(topic, run.channels) for topic in refused)
            run.take_back(alone=not lost_topic and (named or not refused))
        if not lost_topic and not runs[0].shared:
            self._most_messages[cursor_id] = max(sent // 2, 1)

    def _set_aside(self, runs: Iterable[Progress], topics: Unwritable) -> None:
        """The channels of topics that take nothing wait from here on, and the others go anew."""
        self._wire.purge()
        for run in runs:
            blocked = [
                Blocked(channel.decode(), reason, topics.topics.is_temporary(channel))
                for channel, reason in topics.reasons.items()
                if channel in run.channels and run.destination.topics is topics.topics
            ]
            run.take_back(tuple(blocked), stuck=True, alone=bool(blocked))

    def _look_ahead(self, destination: Destination, rows: Iterable[Row]) -> tuple[Blocked, ...]:
        """Looks up the topics of all unknown channels from here on; which of them take nothing.

        The others have routes from the next run on. Together, because each look holds up the whole
        run.
        """
        channels = {row[CHANNEL] for row in rows}
        channels = {
            one
            for one in channels - destination.routes.keys()
            if destination.undeliverable.reason_for(one) is None
        }
        self._wire.reports.heartbeat.beat()
        blocked = []
        for one, found in destination.topics.look_up(channels).items():
            if isinstance(found, Missing):
                closed = found.closed or Closed("")
                blocked.append(Blocked(one.decode(), *closed))
            else:
                self._route(destination, one, found)
        return tuple(blocked)

    def _route(self, destination: Destination, channel: bytes, topic: Topic) -> None:
        batch_bytes = min(BATCH_BYTES, max(topic.limit_bytes - BATCH_OVERHEAD_BYTES, 1))
        producer = self._wire.get(batch_bytes)
        if producer is None:
            # It is there from the next run on.
            return
        destination.routes[channel] = Route(
            topic,
            batch_bytes,
            topic.limit_bytes - COARSE_BYTES,
            producer,
            partial(producer.produce, topic.name),
        )


def _note_refused(
    topic: str,
    closed: Closed,
    runs: Iterable[Progress],
    routes: Iterable[dict[bytes, Route]],
) -> None:
    """From now on its channels are blocked, for all that sent to it."""
    for run, known in zip(runs, routes, strict=True):
        for channel in run.destination.channels_of(topic, run.channels):
            run.destination.topics.note_refused(channel, closed)
            known.pop(channel, None)


def _without_key(topic: Topic) -> DeadReason:
    return "INVALID_RECORD", f"topic {topic.name} is compacted: a message needs a group key"


def _too_large(topic: Topic, size: int) -> DeadReason:
    limit = f"topic {topic.name} takes {topic.limit_bytes} bytes ({topic.limit})"
    return "MSG_SIZE_TOO_LARGE", f"{limit}; with its headers the message has {size}"


def _closed(error: KafkaError, rules: Rules, topic: str) -> Closed:
    """Of a topic whose message was refused by an error of UNWRITABLE."""
    temporary = error.code() not in errors.MISSING
    return Closed(rules.told(error, topic=topic), temporary)
