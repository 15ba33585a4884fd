"""What transactions are to relays that are moved by hand: fences, notes, and what arrived."""

from collections.abc import Iterable, Iterator

import psycopg

from relay.log.message import Row
from relay.log.sink import Outcome, SinkAway
from tests.relay.recording import Arrival, RecordingSink, arrival


class Cluster:
    """What Kafka keeps: who owns a cursor, what its last transaction noted, what arrived."""

    def __init__(self) -> None:
        self.owners: dict[str, object] = {}
        self.fences = 0
        self.notes: dict[str, str] = {}
        self.arrivals: list[Arrival] = []


class Transactions:
    """The transactions of one relay in such a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.staged: list[Arrival] = []
        self.committed: list[str] = []
        self.forgotten: list[str] = []
        self.fences = 0
        # Where it is set, the relay dies just after Kafka's next commit.
        self.dies = False
        self._tokens: dict[str, int] = {}
        self._name = ""

    @property
    def held(self) -> bool:
        return self._name in self._tokens

    def take(self, name: str, token: int) -> bool:
        self._name = name
        return self._tokens.get(name) == token

    def fence(self, name: str) -> str | None:
        self._name = name
        self.cluster.owners[name] = self
        self.cluster.fences += 1
        self.fences += 1
        return self.cluster.notes.get(name)

    def begin(self) -> None: ...

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def own(self, token: int) -> None:
        self._tokens[self._name] = token

    def commit(self, note: str) -> None:
        if self.cluster.owners[self._name] is not self:
            self._tokens.pop(self._name, None)
            raise SinkAway("fenced")
        self.cluster.notes[self._name] = note
        self.cluster.arrivals += self.staged
        self.committed.append(self._name)
        self.staged = []
        if self.dies:
            raise psycopg.OperationalError("it dies here")

    def abort(self) -> None:
        self.staged = []


class TransactionalSink(RecordingSink):
    """Messages are seen when their transaction commits."""

    transactions: Transactions  # type: ignore[assignment]

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.transactions = Transactions(cluster)

    def take(self, rows: Iterable[Row]) -> Outcome:
        taken: list[Row] = []

        def remembered() -> Iterator[Row]:
            for row in rows:
                taken.append(row)
                yield row

        outcome = super().take(remembered())
        last_id = 0
        for row in taken:
            if outcome.stopped is None or row[0] < outcome.stopped.message_id:
                self.transactions.staged.append(arrival(row))
                last_id = row[0]
        return Outcome(
            outcome.messages,
            outcome.bytes,
            outcome.created_at,
            outcome.dead,
            outcome.stopped,
            last_id=last_id,
        )
