"""The intake of one topic: batches of records into the log, each record once.

What a batch holds and how far it reaches commit together. Before, each partition's position is
locked and compared with where the batch was read from: what another relay has taken in meanwhile
rolls back here, and is read on from where that one came.
"""

import time
from collections.abc import Collection, Mapping, Set
from concurrent.futures import Future
from typing import Any

from psycopg import errors

from relay.database import Connection
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.settings import Settings
from relay.sources import dead_letters
from relay.sources.dead_letters import DeadLetter
from relay.sources.entering import enter
from relay.sources.entry import Entry, Refused
from relay.sources.intake import Intake
from relay.sources.kafka import positions
from relay.sources.kafka.loops import Loops
from relay.sources.kafka.positions import Move
from relay.sources.kafka.reader import Absent, Batch, OffsetGone, Reader, properties_of
from relay.sources.kafka.shares import Shares
from relay.sources.record import Record, entry
from relay.sources.source import Source, Stopped, demand_unchanged

# Between two looks at what other relays do and at which partitions there are.
LOOK_SECONDS = 1.0
WAIT_SECONDS = 0.5


class Moved(Exception):
    """Another relay has taken in what this batch holds; or is at it, with these partitions."""

    def __init__(self, held: Set[int]) -> None:
        super().__init__(held)
        self.held = held


class TopicIntake(Intake[Reader]):
    """Of a topic."""

    def __init__(self, source: Source, settings: Settings, telemetry: Telemetry) -> None:
        super().__init__(source, settings, telemetry)
        self._shares = Shares(settings.name)
        self._loops = Loops(source, settings)
        self._looked_at = float("-inf")
        # Where each partition stands that this relay reads.
        self._standing: dict[int, int] = {}
        # Whether others have some in which records wait.
        self._others_wait = False
        # Whether the topic was not there yet: all that it holds came after the source.
        self._was_absent = False

    def open(self) -> Reader:
        source = self.source
        self._looked_at = float("-inf")
        self._standing = {}
        self._loops = Loops(source, self._settings)
        properties = properties_of(source.cluster, self._settings)
        return Reader(properties, source.topic, f"outbox.{self._installation}.{source.id}")

    def run(self, connection: Connection, reader: Reader) -> None:
        """As Intake.run. Raises OffsetGone for no offset: that is a question."""
        if time.monotonic() > self._looked_at + LOOK_SECONDS:
            self._look(connection, reader)
            self._looked_at = time.monotonic()
        try:
            batch = reader.batch(WAIT_SECONDS)
        except OffsetGone as gone:
            raise self._gone(connection, reader, gone) from gone
        moves = self._behind(reader, batch)
        if batch or moves:
            try:
                with self.working():
                    self._take_in(connection, reader, batch, moves)
            except Moved as moved:
                self._go_back(connection, reader, batch.keys() | moves.keys(), moved.held)
        at_the_end = not batch and self._standing.keys() <= reader.ends.keys()
        if batch or at_the_end:
            self.note_well(connection)
        self.caught_up = at_the_end and not self._others_wait

    def leave(self, connection: Connection) -> None:
        with self.transaction(connection):
            positions.let_go(connection, self.source, self._standing.keys(), self._settings.name)

    def _behind(self, reader: Reader, batch: Batch) -> dict[int, Move]:
        """Moves of partitions without records: over what no reader sees, as transactions' marks."""
        return {
            one: Move(end, end)
            for one, end in reader.ends.items()
            if one not in batch and end > self._standing.get(one, end)
        }

    def _take_in(
        self, connection: Connection, reader: Reader, batch: Batch, moves: dict[int, Move]
    ) -> None:
        if any(
            partition not in self._standing or records[0].offset < self._standing[partition]
            for partition, records in batch.items()
        ):
            # Of a former assignment.
            raise Moved(frozenset())
        asked = reader.ask_topic()
        entries: list[Entry] = []
        places: list[Record] = []
        dead: list[DeadLetter] = []
        for partition, records in batch.items():
            moves[partition] = self._sort_out(reader, records, entries, places, dead)
        with self.transaction(connection):
            demand_unchanged(connection, self.source)
            self._lock(connection, moves, reader, asked)
            for at, words in sorted(enter(connection, entries, self.source.priority).items()):
                dead.append(DeadLetter(places[at], "refused", words))
                moves[places[at].partition].entered -= 1
            if dead:
                dead_letters.keep(connection, self.source.id, dead)
            positions.move(connection, self.source, moves, self._settings.name)
        self._standing.update((one, move.next_offset) for one, move in moves.items())
        entered = sum(one.entered for one in moves.values())
        self.count(entered, sum(one.passed for one in moves.values()), dead)

    def _sort_out(
        self,
        reader: Reader,
        records: list[Record],
        entries: list[Entry],
        places: list[Record],
        dead: list[DeadLetter],
    ) -> Move:
        """Adds to the three what becomes of one partition's records."""
        channel, own = self.source.channel, self._installation
        before, passed = len(entries), 0
        for record in records:
            try:
                made = entry(record, channel, own)
            except Refused as wrong:
                dead.append(DeadLetter(record, wrong.reason, wrong.detail))
                continue
            if made is None:
                passed += 1
                continue
            entries.append(made)
            places.append(record)
        partition, last = records[-1].partition, records[-1].offset + 1
        # A transaction's mark may stand behind the last one.
        last = max(last, reader.ends.get(partition, last))
        end = max(reader.end_of(partition), last)
        return Move(last, end, len(entries) - before, passed)

    def _lock(
        self,
        connection: Connection,
        moves: Mapping[int, Move],
        reader: Reader,
        asked: "Future[Any]",
    ) -> None:
        """Raises Moved where a position is held, or is not where this batch begins."""
        known = positions.lock(connection, self.source, moves.keys())
        held = moves.keys() - known.keys()
        if held or any(known[one].next_offset != self._standing.get(one) for one in moves):
            raise Moved(held)
        # Asked after the batch was read: the topic that is there now is the one that it is from.
        topic_id, _ = reader.told(asked)
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
