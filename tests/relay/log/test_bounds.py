"""However large a transaction: runs are bounded in messages and bytes, and memory is flat."""

from pathlib import Path

import pytest

from relay.log.reading import CHUNK_ROWS, RUN_BYTES, RUN_MESSAGES
from tests.relay.recording import Arrival, Relay
from tests.sql.log import Session

FILL = """
    insert into outbox.message (channel, type, group_key, idempotency_key, payload)
    select 'orders', 'event', 'g' || n %% 100, 'fill-' || n, convert_to(repeat('x', %s), 'UTF8')
    from generate_series(1, %s) as n
"""
LARGEST_BYTES = 983_000


def resident_bytes() -> int:
    """What this process holds in memory now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this process has no VmRSS")


class Memory:
    """The most that was held at any message, beyond what was held at the first."""

    def __init__(self) -> None:
        self.start_bytes = self.peak_bytes = 0

    def watch(self, message: Arrival) -> None:
        if self.start_bytes == 0:
            self.start_bytes = resident_bytes()
        if message.id % 16 == 0:
            self.peak_bytes = max(self.peak_bytes, resident_bytes())

    @property
    def growth_bytes(self) -> int:
        return self.peak_bytes - self.start_bytes


@pytest.mark.long
def test_a_transaction_of_200_000_messages_goes_in_bounded_runs_with_flat_memory(
    db: Session, relay: Relay
) -> None:
    db.execute(FILL, [10, 200_000])
    memory = Memory()
    runs = []
    for cursor in relay.probe():
        relay.sink.taking = memory.watch
        ran = relay.run(cursor)
        while ran is not None and not ran.exhausted:
            relay.sink.arrivals.clear()
            ran = relay.run(cursor)
        runs = relay.sink.runs
    assert sum(runs) == 200_000
    assert max(runs) <= RUN_MESSAGES
    assert memory.growth_bytes < 60_000_000


def test_a_run_of_large_messages_ends_at_its_bytes(db: Session, relay: Relay) -> None:
    """Three runs' worth of the largest messages, and never more than a chunk of them in memory."""
    messages = 3 * RUN_BYTES // LARGEST_BYTES
    db.execute(FILL, [LARGEST_BYTES, messages])
    memory = Memory()
    relay.sink.taking = memory.watch
    relay.drain()
    sizes = [run * LARGEST_BYTES for run in relay.sink.runs if run]
    assert sum(relay.sink.runs) == messages
    assert max(sizes) < RUN_BYTES + LARGEST_BYTES
    # A chunk as libpq holds it and as Python holds it.
    assert memory.growth_bytes < 2.5 * CHUNK_ROWS * LARGEST_BYTES
