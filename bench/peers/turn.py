"""One candidate's turn: warm-up, drains, drains while an old snapshot is held, a trickle."""

import time
from collections.abc import Callable, Sequence

import msgspec

from bench.arena import Arena, Connection
from bench.latency import MILLISECONDS, percentile
from bench.peers.candidate import Candidate
from bench.peers.topic import Arrivals, Topic
from bench.process import cpu_seconds, peak_memory_bytes
from local.program import Program

PROBE_MESSAGES = 2_000
# A drain is to take about this long: slow candidates get a smaller backlog, not more time.
DRAIN_SECONDS = 5.0
DRAIN_TIMEOUT_SECONDS = 60.0
WARM_UP_DRAINS = 2
# Acknowledgements, deletes and checkpoints that come behind the last message count as well.
SETTLE_SECONDS = 1.0
RATE = 1000
LATENCY_WARM_UP_SECONDS = 2
LATENCY_PATIENCE_SECONDS = 20


class Plan(msgspec.Struct, frozen=True):
    """How much is measured: messages in a backlog at most, drains of each kind, seconds."""

    messages: int
    rounds: int
    latency_seconds: int


class Drain(msgspec.Struct, frozen=True, kw_only=True):
    """From the fill's commit until a consumer can read the last message; costs until a bit later.

    Processor seconds of the relay's processes and of Postgres's, bytes of WAL of the whole server.
    """

    messages: int
    seconds: float
    relay_seconds: float
    postgres_seconds: float
    wal_bytes: int


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds from a commit's answer to the consumer; messages per second, in and out."""

    milliseconds: list[float]
    written_rate: float
    arrived_rate: float

    def percentile(self, percent: int) -> float:
        return percentile(self.milliseconds, percent)


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a candidate's turn came to."""

    drains: list[Drain]
    held: list[Drain]
    latency: Latency | None
    peak_memory_bytes: int | None


def measure(arena: Arena, candidate: Candidate, plan: Plan, say: Callable[[str], None]) -> Measured:
    """Raises StartError, RuntimeError and what Postgres and Kafka raise."""
    arena.make_topic(candidate.topic)
    topic = Topic(arena.kafka.bootstrap_servers, candidate.topic)
    with candidate.run(arena) as programs:
        course = _Course(arena, candidate, programs, topic)
        say("warm-up")
        messages = course.warm_up(plan.messages)
        drains: list[Drain] = []
        held: list[Drain] = []
        for number in range(plan.rounds):
            say(f"drain {number + 1} of {plan.rounds}, {messages:,} messages")
            drains.append(course.drain(messages))
            say(f"drain {number + 1} of {plan.rounds}, {messages:,} messages, old snapshot held")
            with arena.old_snapshot():
                held.append(course.drain(messages))
        say(f"latency at {RATE:,}/s")
        latency = course.latency(plan.latency_seconds)
        peak = sum(peak_memory_bytes(program.pid) for program in programs)
    topic.delete()
    return Measured(drains=drains, held=held, latency=latency, peak_memory_bytes=peak)


class _Course:
    """A candidate that is running, and what it sends to."""

    def __init__(
        self, arena: Arena, candidate: Candidate, programs: Sequence[Program], topic: Topic
    ) -> None:
        self._arena = arena
        self._candidate = candidate
        self._programs = programs
        self._topic = topic

    def warm_up(self, most: int) -> int:
        """How many messages it drains in DRAIN_SECONDS once it is warm, `most` at most."""
        drained = self.drain(min(PROBE_MESSAGES, most))
        for _ in range(WARM_UP_DRAINS):
            drained = self.drain(_sized(drained, most))
        return _sized(drained, most)

    def drain(self, messages: int) -> Drain:
        """Writes a backlog, and times it from its commit on. Raises RuntimeError."""
        arena, candidate = self._arena, self._candidate
        with arena.connect() as connection:
            connection.execute(candidate.truncate)
            # Before the fill: a page that is first touched after a checkpoint is logged whole.
            connection.execute("checkpoint")
            decoded = _decoding_seconds(connection)
            with connection.transaction():
                candidate.fill_table(connection, messages)
                decoded = _decoding_seconds(connection) - decoded
                start = self._topic.ends()
                wal_bytes = _wal_bytes(connection)
                relay_seconds, postgres_seconds = self._used()
            began_at = time.monotonic()
            arrivals = Arrivals(self._topic, start, messages, DRAIN_TIMEOUT_SECONDS)
            ended_at = None
            while ended_at is None:
                arrivals.settle(SETTLE_SECONDS)
                relay_used, postgres_used = self._used()
                wal_end = _wal_bytes(connection)
                ended_at = arrivals.ended_at()
        return Drain(
            messages=messages,
            seconds=ended_at - began_at,
            relay_seconds=relay_used - relay_seconds,
            # What a logical decoder did before the commit belongs to its drain.
            postgres_seconds=postgres_used - postgres_seconds + decoded,
            wal_bytes=wal_end - wal_bytes,
        )

    def _used(self) -> tuple[float, float]:
        relay = sum(cpu_seconds(program.pid) for program in self._programs)
        return relay, cpu_seconds(self._arena.postgres.pid)

    def latency(self, seconds: int) -> Latency:
        """Transactions of one message each at RATE, from a process of its own, read in a third."""
        arena, candidate = self._arena, self._candidate
        seconds += LATENCY_WARM_UP_SECONDS
        count = RATE * seconds
        with arena.connect() as connection:
            connection.execute(candidate.truncate)
        servers = arena.kafka.bootstrap_servers
        patience = seconds + LATENCY_PATIENCE_SECONDS
        reader = arena.start("peers.reader", servers, candidate.topic, count, patience)
        try:
            assert reader.stdout is not None
            reader.stdout.readline()
            committed = arena.measure(
                "writer",
                arena.database_url,
                candidate.publish,
                candidate.channel,
                RATE,
                seconds,
            )
            arrived = dict(arena.result(reader))
        finally:
            reader.kill()
            reader.wait()
        return trickled({n: at for n, _, at in committed}, arrived, RATE * LATENCY_WARM_UP_SECONDS)


def trickled(committed: dict[int, int], arrived: dict[int, int], first: int) -> Latency:
    """From nanoseconds by message; those before `first` warmed up. Raises RuntimeError."""
    counted = {n: at for n, at in arrived.items() if n >= first}
    written = [at for n, at in committed.items() if n >= first]
    if len(counted) < 2:
        raise RuntimeError(f"only {len(arrived):,} of {len(committed):,} messages came in time")
    begin = min(written)
    return Latency(
        milliseconds=[(at - committed[n]) * MILLISECONDS for n, at in counted.items()],
        written_rate=len(written) / (max(written) - begin) * 1e9,
        arrived_rate=len(counted) / (max(counted.values()) - begin) * 1e9,
    )


def _sized(drain: Drain, most: int) -> int:
    return min(most, max(1000, int(drain.messages / drain.seconds * DRAIN_SECONDS) // 1000 * 1000))


WAL_BYTES = "select (pg_current_wal_insert_lsn() - '0/0')::bigint"


def _wal_bytes(connection: Connection) -> int:
    row = connection.execute(WAL_BYTES).fetchone()
    assert row is not None
    return int(row[0])


DECODERS = "select pid from pg_stat_replication"


def _decoding_seconds(connection: Connection) -> float:
    """Logical decoding begins with the first row that is written, long before the commit."""
    return sum(cpu_seconds(pid) for (pid,) in connection.execute(DECODERS).fetchall())
