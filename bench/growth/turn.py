"""One drain by a relay process of its own, and what it cost."""

import statistics
import time
from collections.abc import Callable

import msgspec

from bench.arena import Arena, Connection
from bench.messages import TOPIC
from bench.process import cpu_seconds, peak_memory_bytes
from bench.watch import send_one, watch
from relay.database import connect
from relay.log.probe import PROBE, probe
from relay.settings import Settings
from tests.relay.plans import explain

MEBIBYTE = 1 << 20
POLLS = 50


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Processor time is per message; an empty poll reads so many pages and takes so many locks."""

    messages_per_second: float
    relay_cpu_microseconds: float
    postgres_cpu_microseconds: float
    peak_memory_mebibytes: float
    poll_milliseconds: float
    poll_buffers: float
    poll_locks: float


def drain(
    arena: Arena, connection: Connection, arrivals: int, fill: Callable[[], None], streams: int = 1
) -> Turn:
    """Drains what `fill` puts into the log: `arrivals` messages over all `streams` subscriptions.

    The process is warm: it has sent a message to each topic, and waits while all is paused.
    """
    with arena.relay() as relay:
        send_one(connection, TOPIC, streams)
        connection.execute("update outbox.subscription set paused = true")
        fill()
        pids = relay.pid, arena.postgres.pid
        before = [cpu_seconds(pid) for pid in pids]
        connection.execute("update outbox.subscription set paused = false")
        seconds = watch(connection, arrivals)
        used = [cpu_seconds(pid) - so_far for pid, so_far in zip(pids, before, strict=True)]
        peak_bytes = peak_memory_bytes(relay.pid)
    poll_milliseconds, poll_buffers, poll_locks = _empty_poll(arena)
    return Turn(
        messages_per_second=arrivals / seconds,
        relay_cpu_microseconds=used[0] / arrivals * 1e6,
        postgres_cpu_microseconds=used[1] / arrivals * 1e6,
        peak_memory_mebibytes=peak_bytes / MEBIBYTE,
        poll_milliseconds=poll_milliseconds,
        poll_buffers=poll_buffers,
        poll_locks=poll_locks,
    )


LOCKS = "select count(*) from pg_locks where pid = pg_backend_pid()"


def _empty_poll(arena: Arena) -> tuple[float, int, int]:
    """Milliseconds, the median of many, buffers, and locks."""
    times = []
    with connect(Settings.from_environment(arena.environment)) as session:
        for _ in range(POLLS):
            began_at = time.perf_counter()
            found = probe(session, "bench")
            times.append((time.perf_counter() - began_at) * 1000)
            assert not found
        parameters = {"subscription": None, "waiting": False}
        buffers = explain(session, PROBE, parameters).buffers
        with session.transaction():
            session.execute(PROBE, parameters)
            ((locks,),) = session.execute(LOCKS).fetchall()
    return statistics.median(times), buffers, locks
