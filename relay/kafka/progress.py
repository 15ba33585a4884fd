"""How far a run to Kafka has come with one of its cursors."""

from collections.abc import Sequence
from operator import itemgetter

import msgspec
from confluent_kafka import KafkaError

from relay.kafka.destination import Destination
from relay.log.message import CHANNEL, CREATED_AT, ID, Row, payload_bytes
from relay.log.sink import Blocked, Dead, Outcome, Stopped

_channel, _created_at = itemgetter(CHANNEL), itemgetter(CREATED_AT)


class Progress:
    """What went, what never will, and where it ended. The rows are not kept: none goes again."""

    def __init__(self, destination: Destination, room: int, *, shared: bool) -> None:
        """`room`: how many messages may go. `shared`: the run has other cursors besides."""
        self.destination = destination
        self.room = room
        self.shared = shared
        # Each message goes alone, since one of them may be refused.
        self.careful = room == 1
        # The first that was tried.
        self.first_id: int | None = None
        self.last_id = 0
        self.alone = False
        self.bytes = 0
        self.created_at: list[int] = []
        # Of the messages that were sent; and of those whose topics were asked for their limits.
        self.channels: set[bytes] = set()
        self.asked: set[bytes] = set()
        self.dead: list[Dead] = []
        self.stopped: Stopped | None = None
        self._refused: str | None = None

    @property
    def messages(self) -> int:
        """How many were sent."""
        return len(self.created_at)

    def try_one(self, row: Row) -> None:
        """It is handed over now, and may be refused at once."""
        if self.first_id is None:
            self.first_id = row[ID]
        self.channels.add(row[CHANNEL])

    def add(self, rows: Sequence[Row]) -> None:
        """These were sent."""
        if not rows:
            return
        if self.first_id is None:
            self.first_id = rows[0][ID]
        self.last_id = rows[-1][ID]
        self.created_at.extend(map(_created_at, rows))
        self.channels.update(map(_channel, rows))
        self.bytes += payload_bytes(rows)
        self.room -= len(rows)

    def stop(
        self, message_id: int, blocked: tuple[Blocked, ...] = (), *, alone: bool = False
    ) -> None:
        """Before this message."""
        self.stopped = Stopped(message_id, blocked, alone=alone)

    def refuse(self, error: KafkaError) -> None:
        """The only message that was tried is dead: it made the whole run."""
        assert self.first_id is not None
        self.dead.append(Dead(self.first_id, error.name(), error.str()))
        self.created_at, self.bytes, self.room = [], 0, 0
        (channel,) = self.channels
        self._refused = channel.decode()

    def take_back(
        self, blocked: tuple[Blocked, ...] = (), *, stuck: bool = False, alone: bool = False
    ) -> None:
        """Nothing counts from the first message that was tried on.

        Of several cursors one that had not its turn yet has read what it was not given: all of it
        counts for nothing.
        """
        if self.first_id is None and not self.shared:
            return
        begin_id = 0 if self.shared or self.first_id is None else self.first_id
        self.stopped = Stopped(begin_id, blocked, stuck=stuck, alone=alone)
        self.dead = [one for one in self.dead if one.message_id < begin_id]
        self.created_at, self.bytes = [], 0
        self._refused = None

    def outcome(self) -> Outcome:
        """As the run sees it, once it is confirmed."""
        stopped = self.stopped
        if stopped is not None and self._refused is not None:
            stopped = msgspec.structs.replace(stopped, refused=self._refused)
        return Outcome(
            messages=self.messages,
            bytes=self.bytes,
            created_at=self.created_at,
            dead=self.dead,
            stopped=stopped,
            last_id=self.last_id,
        )
