"""The intake of one queue: received, inserted, committed, and only then deleted.

A message that comes a second time, since nobody deleted it in time, is known by the id that the
queue has given it: the transaction that inserts notes it, and what is noted inserts nothing.
"""

import time

from relay.database import Connection
from relay.sources import dead_letters
from relay.sources.dead_letters import DeadLetter
from relay.sources.entering import enter
from relay.sources.entry import Entry, Refused
from relay.sources.intake import Intake
from relay.sources.record import Record, entry
from relay.sources.sqs import receipts
from relay.sources.sqs.message import opened, unwraps
from relay.sources.sqs.queue import Queue, Received, settings_of

# What has entered is deleted from the queue, and nobody has it then but this server: its commit is
# on disk before, whatever the server, the database or the role have set. Whether a standby has it
# too is the operator's to say.
DURABLE = """
    select case when current_setting('synchronous_commit') = 'off'
                then set_config('synchronous_commit', 'local', true) end
"""
# Between two questions for how many messages it has: each is a request that is paid for.
LAG_SECONDS = 30.0


class QueueIntake(Intake[Queue]):
    """Of a queue."""

    _asked_at = float("-inf")

    def open(self) -> Queue:
        return Queue(settings_of(self.source), self._settings)

    def run(self, connection: Connection, queue: Queue) -> None:
        with self.working():
            self._run(connection, queue)

    def _run(self, connection: Connection, queue: Queue) -> None:
        # Before anything is received: a message that is handed out often, and never deleted, may
        # end in the queue's own dead-letter queue.
        with self.transaction(connection):
            self.look(connection)
        messages = queue.receive()
        if messages:
            with queue.held(messages):
                self._take_in(connection, messages)
            queue.delete(messages)
        if not messages and not self.caught_up:
            # At the end of what there was: the former number is wrong.
            self._asked_at = float("-inf")
        self._tell_lag(connection, queue)
        self.note_well(connection)
        self.caught_up = not messages

    def _take_in(self, connection: Connection, messages: list[Received]) -> None:
        with self.transaction(connection):
            connection.execute(DURABLE)
            self.look(connection)
            ids = [_id(one) for one in messages]
            new = receipts.note(connection, self.source.id, ids)
            records = [one.record for one in messages if _take(new, _id(one))]
            entries, places, dead = self._sort_out(records)
            passed = len(records) - len(entries) - len(dead)
            for at, words in sorted(enter(connection, entries, self.source.priority).items()):
                dead.append(DeadLetter(places[at], "refused", words))
            entered = len(records) - len(dead) - passed
            if dead:
                dead_letters.keep(connection, self.source.id, dead)
            if records:
                receipts.count(connection, self.source.id, entered, passed)
        self.count(entered, passed, dead)

    def _sort_out(
        self, records: list[Record]
    ) -> tuple[list[Entry], list[Record], list[DeadLetter]]:
        """What enters, of which records it is, and what can't."""
        entries: list[Entry] = []
        places: list[Record] = []
        dead: list[DeadLetter] = []
        unwrap = unwraps(self.source.settings)
        for record in records:
            try:
                made = entry(opened(record, unwrap), self.source.channel, self._installation)
            except Refused as wrong:
                dead.append(DeadLetter(record, wrong.reason, wrong.detail))
                continue
            if made is not None:
                entries.append(made)
                places.append(record)
        return entries, places, dead

    def _tell_lag(self, connection: Connection, queue: Queue) -> None:
        if time.monotonic() < self._asked_at + LAG_SECONDS:
            return
        self._asked_at = time.monotonic()
        waiting = queue.waiting()
        if waiting is not None:
            with self.transaction(connection):
                receipts.note_waiting_messages(connection, self.source.id, waiting)
            self._telemetry.source_lag(self.source.name, waiting)


def _id(one: Received) -> str:
    assert one.record.message_id is not None
    return one.record.message_id


def _take(new: set[str], message_id: str) -> bool:
    """Whether it is new, the first time: a batch may hold it twice."""
    if message_id not in new:
        return False
    new.remove(message_id)
    return True
