"""The intake of one topic: batches of records into the log, each record once.

What a batch holds and how far it reaches commit together. Before, each partition's position is
locked and compared with where the batch was read from: what another relay has taken in meanwhile
rolls back here, and is read on from where that one came. While Postgres takes one batch in, the
next is read and made; it is inserted once that one has committed.
"""

import time
from collections.abc import Collection, Mapping, Set
from functools import partial
from uuid import uuid4

from psycopg import errors

from relay.database import Connection, heartbeat_of
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources import dead_letters
from relay.sources.entering import enter
from relay.sources.intake import Intake
from relay.sources.kafka import positions
from relay.sources.kafka.batch import Batch, Moved
from relay.sources.kafka.insertion import Insertion
from relay.sources.kafka.loops import Loops
from relay.sources.kafka.positions import Move
from relay.sources.kafka.reader import Absent, OffsetGone, Reader, properties_of
from relay.sources.kafka.shares import Shares
from relay.sources.source import Source, Stopped, demand_unchanged

# Between two looks at what other relays do and at which partitions there are.
LOOK_SECONDS = 1.0
WAIT_SECONDS = 0.5
# What ended so many processes one after the other, before any of them took something in, would end
# the next one, and with it all else that this relay delivers.
MAX_ENDED = 5
# This one, as no other: a pod's name stays, and so does its process's number.
PROCESS = uuid4()


class TopicIntake(Intake[Reader]):
    """Of a topic."""

    def __init__(self, source: Source, settings: Settings, telemetry: Telemetry) -> None:
        super().__init__(source, settings, telemetry)
        self._shares = Shares(settings.name)
        self._loops = Loops(source, settings)
        self._looked_at = float("-inf")
        # Where each partition stands that this relay reads, once the insertion has committed.
        self._standing: dict[int, int] = {}
        # Of the batch before the one that is read.
        self._insertion: Insertion | None = None
        # Whether others have some in which records wait.
        self._others_wait = False
        # Whether the topic was not there yet: all that it holds came after the source.
        self._was_absent = False
        self.process = PROCESS

    def open(self) -> Reader:
        source = self.source
        self._looked_at = float("-inf")
        self._standing = {}
        self._insertion = None
        self._loops = Loops(source, self._settings)
        properties = properties_of(source.cluster, self._settings)
        return Reader(properties, source.topic, f"outbox.{self._installation}.{source.id}")

    def run(self, connection: Connection, reader: Reader) -> None:
        """As Intake.run. Raises OffsetGone for no offset: that is a question."""
        try:
            self._run(connection, reader)
        except OffsetGone as gone:
            if self._end_insertion(connection, reader):
                raise self._gone(connection, reader, gone) from gone
        except Exception:
            # The connection is the insertion's until then.
            self._end_insertion(connection, reader)
            raise

    def _run(self, connection: Connection, reader: Reader) -> None:
        if time.monotonic() > self._looked_at + LOOK_SECONDS:
            self._end_insertion(connection, reader)
            self._look(connection, reader)
            self._looked_at = time.monotonic()
        found = reader.wait(WAIT_SECONDS)
        if found or self._behind(reader, {}):
            with self.working():
                self._take_in(connection, reader)
        if not found:
            self._end_insertion(connection, reader)
        at_the_end = not found and self._at_the_end(reader)
        if at_the_end:
            self.note_well(connection)
        self.caught_up = at_the_end and not self._others_wait

    def leave(self, connection: Connection, reader: Reader) -> None:
        self._end_insertion(connection, reader)
        with self.transaction(connection):
            positions.let_go(connection, self.source, self._standing.keys(), self._settings.name)
            positions.forget_reader(connection, self.source, self.process)

    def outlive(self, connection: Connection) -> None:
        with self.transaction(connection):
            positions.forget_reader(connection, self.source, self.process)

    def _at_the_end(self, reader: Reader) -> bool:
        """Whether all is read that there was."""
        return self._standing.keys() <= reader.ends.keys()

    def _behind(self, reader: Reader, moves: Mapping[int, Move]) -> dict[int, Move]:
        """Of other partitions than these: over what no reader sees, as transactions' marks."""
        return {
            one: Move(end, end)
            for one, end in reader.ends.items()
            if one not in moves and end > self._standing.get(one, end)
        }

    def _end(self, reader: Reader, moves: dict[int, Move]) -> None:
        """Where this batch leaves each partition, and how far that is from its end."""
        for one, move in moves.items():
            # A transaction's mark may stand behind the last record.
            move.next_offset = max(move.next_offset, reader.ends.get(one, move.next_offset))
            move.end_offset = max(reader.end_of(one), move.next_offset)
        moves.update(self._behind(reader, moves))

    def _take_in(self, connection: Connection, reader: Reader) -> None:
        """A batch. It is whole, and the cluster has answered, before its transaction begins: while
        that is open, what all others publish waits for it to be read.
        """
        batch = Batch(self.source, self._installation, self._standing)
        try:
            batch.read(reader.records())
            self._end(reader, batch.moves)
            # Asked after the batch was read: the topic that is there now is the one that it is
            # from.
            topic_id, _ = reader.told(reader.ask_topic())
        except Moved as moved:
            if self._end_insertion(connection, reader):
                self._go_back(connection, reader, batch.moves.keys(), moved.held)
            return
        if not self._end_insertion(connection, reader):
            # What is in this batch is read once more.
            return
        self._standing.update((one, move.next_offset) for one, move in batch.moves.items())
        self._insertion = Insertion(batch, partial(self._insert, connection, batch, topic_id))
        if self._at_the_end(reader):
            self._end_insertion(connection, reader)
        else:
            self._insertion.begin()

    def _insert(self, connection: Connection, batch: Batch, topic_id: str) -> None:
        """A batch's transaction. Raises Moved, Changed, Stopped and psycopg.Error."""
        with self.transaction(connection):
            demand_unchanged(connection, self.source)
            self._lock(connection, batch, topic_id)
            batch.refuse(enter(connection, batch.entries, self.source.priority))
            if batch.dead:
                dead_letters.keep(connection, self.source.id, batch.dead)
            positions.move(connection, self.source, batch.moves, self._settings.name)

    def _end_insertion(self, connection: Connection, reader: Reader) -> bool:
        """Of the batch before; False: another relay was there first, and the reader went back.

        Raises as `_insert`.
        """
        insertion, self._insertion = self._insertion, None
        if insertion is None:
            return True
        batch = insertion.batch
        try:
            with self.working(), heartbeat_of(connection).elsewhere():
                insertion.end()
        except Moved as moved:
            self._go_back(connection, reader, batch.moves.keys(), moved.held)
            return False
        moves = batch.moves.values()
        entered, passed = sum(one.entered for one in moves), sum(one.passed for one in moves)
        self.count(entered, passed, batch.dead)
        self.note_well(connection)
        return True

    def _lock(self, connection: Connection, batch: Batch, topic_id: str) -> None:
        """Raises Moved where a position is held, or is not where this batch begins."""
        moves, standing = batch.moves, batch.standing
        known = positions.lock(connection, self.source, moves.keys())
        held = moves.keys() - known.keys()
        if held or any(known[one].next_offset != standing.get(one) for one in moves):
            raise Moved(held)
        positions.demand_same_topic(self.source, known, topic_id)

    def _go_back(
        self, connection: Connection, reader: Reader, partitions: Set[int], held: Set[int]
    ) -> None:
        with self.transaction(connection):
            known = positions.read(connection, self.source)
        for one in partitions:
            self._standing.pop(one, None)
            # What another relay reads is left to it, what it holds until the next look.
            mine = one in known and known[one].relay in (None, self._settings.name)
            if mine and one not in held:
                self._standing[one] = known[one].next_offset
        reader.read_from(self._standing)

    def _look(self, connection: Connection, reader: Reader) -> None:
        """At the topic, at what other relays do, and at what goes out."""
        topic_id, partitions = self._told(reader)
        with self.transaction(connection):
            self.look(connection)
            known = positions.read(connection, self.source)
            self._loops.look(connection)
        positions.demand_same_topic(self.source, known, topic_id)
        if set(partitions) - known.keys():
            known = self._begin(connection, reader, topic_id, partitions, known.keys())
        ends = reader.ends_of(known.keys() - self._standing.keys())
        mine, surplus = self._shares.choose(self._standing, known, ends, self.relays)
        standing = {one: known[one].next_offset for one in sorted(mine)}
        if standing != self._standing:
            # Also after a seek, and where another relay has moved one.
            begun = {one: at for one, at in standing.items() if ends.get(one, -1) > at}
            self._demand_readable(connection, begun)
            self._standing = standing
            reader.read_from(standing)
        self._others_wait = any(
            ends.get(one, -1) > position.next_offset
            for one, position in known.items()
            if one not in mine
        )
        if surplus:
            with self.transaction(connection):
                positions.let_go(connection, self.source, surplus, self._settings.name)
        self._tell_lag(reader)

    def _demand_readable(self, connection: Connection, begun: Mapping[int, int]) -> None:
        """Notes that these are read from now on, where something waits. Raises Stopped where that
        has ended all who tried.
        """
        if not begun:
            return
        source = self.source
        with self.transaction(connection):
            readers = positions.note_reader(connection, source, begun, self.process)
            deadly = sorted(one for one, number in readers.items() if number > MAX_ENDED)
            if deadly:
                positions.forget_readers(connection, source)
        if deadly:
            places = ", ".join(f"{one}:{begun[one]}" for one in deadly[:10])
            raise Stopped(
                f"{MAX_ENDED} relays ended when they began to read topic {source.topic} at "
                f"{places}. Records that unpack to more than a relay's memory do that. If it was "
                f"something else, outbox-relay connectors resume {source.name} tries again. If the "
                f"records are not wanted: seek {source.name} --from a time behind them"
            )

    def _told(self, reader: Reader) -> tuple[str, list[int]]:
        try:
            return reader.told(reader.ask_topic())
        except Absent:
            self._was_absent = True
            raise

    def _begin(
        self,
        connection: Connection,
        reader: Reader,
        topic_id: str,
        partitions: Collection[int],
        known: Collection[int],
    ) -> dict[int, positions.Position]:
        """New partitions begin at their beginning; all of a new source where it is to begin."""
        start = "earliest" if known or self._was_absent else self.source.start
        offsets = reader.offsets([one for one in partitions if one not in known], start)
        try:
            with self.transaction(connection):
                positions.begin(connection, self.source, topic_id, offsets)
                return positions.read(connection, self.source)
        except errors.LockNotAvailable as held:
            raise SinkAway("another session keeps its row of outbox.source locked") from held

    def _gone(self, connection: Connection, reader: Reader, gone: OffsetGone) -> Exception:
        topic_id, _ = self._told(reader)
        with self.transaction(connection):
            known = positions.read(connection, self.source)
        positions.demand_same_topic(self.source, known, topic_id)
        source, wanted = self.source, self._standing.get(gone.partition, -1)
        low, high = reader.range_of(gone.partition)
        place = f"partition {gone.partition} of topic {source.topic}"
        if low <= wanted <= high and not gone.cut:
            # As a broker says that has not caught up yet.
            return SinkAway(f"offset {wanted} of {place} is there, and can't be read now")
        what = (
            f"offset {wanted} of {place} was deleted before it was read, and {low} is the first"
            if wanted < low
            else f"{place} ends at {high}, and {wanted} was to be read next: its log was cut"
        )
        return Stopped(
            f"{what}. From where on is it wanted? outbox-relay connectors seek {source.name} "
            "--from earliest goes on with what is there, --from latest or a time leaves more out"
        )

    def _tell_lag(self, reader: Reader) -> None:
        lag = sum(
            max(reader.end_of(one) - offset, 0)
            for one, offset in self._standing.items()
            if one not in reader.ends
        )
        self._telemetry.source_lag(self.source.name, lag)
