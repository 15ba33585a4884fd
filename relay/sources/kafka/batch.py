"""What becomes of the records of one batch."""

from collections.abc import Iterable, Mapping, Set

from relay.sources.dead_letters import DeadLetter
from relay.sources.entry import Entry, Refused
from relay.sources.kafka.positions import Move
from relay.sources.record import Record, entry
from relay.sources.source import Source


class Moved(Exception):
    """Another relay has taken in what this batch holds; or is at it, with the partitions `held`."""

    def __init__(self, held: Set[int] = frozenset()) -> None:
        super().__init__(held)
        self.held = held


class Batch:
    """`standing`: where each partition stands that may be in it, before it."""

    def __init__(self, source: Source, installation: str, standing: Mapping[int, int]) -> None:
        self.standing = dict(standing)
        self.moves: dict[int, Move] = {}
        self.entries: list[Entry] = []
        self.dead: list[DeadLetter] = []
        self._channel = source.channel
        self._installation = installation
        # Those of which something enters, in its order.
        self._places: list[Record] = []

    def read(self, records: Iterable[Record]) -> None:
        """Sorts out what enters. Raises Moved, and what `records` does."""
        channel, installation, moves = self._channel, self._installation, self.moves
        enter, place = self.entries.append, self._places.append
        for record in records:
            move = moves.get(record.partition) or self._first(record)
            move.next_offset = record.offset + 1
            try:
                made = entry(record, channel, installation)
            except Refused as wrong:
                self.dead.append(DeadLetter(record, wrong.reason, wrong.detail))
                continue
            if made is None:
                move.passed += 1
                continue
            move.entered += 1
            place(record)
            enter(made)

    def refuse(self, faults: Mapping[int, str]) -> None:
        """Of the entries, by their places: what the log says that does not take it."""
        for at, words in sorted(faults.items()):
            record = self._places[at]
            self.dead.append(DeadLetter(record, "refused", words))
            self.moves[record.partition].entered -= 1

    def _first(self, record: Record) -> Move:
        """Of its partition. Raises Moved where it is of a former assignment."""
        move = self.moves[record.partition] = Move(record.offset, record.offset)
        stands_at = self.standing.get(record.partition)
        if stands_at is None or record.offset < stands_at:
            raise Moved
        return move
