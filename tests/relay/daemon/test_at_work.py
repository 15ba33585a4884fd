"""What counts as work under way: `run --once` waits for it, and for nothing else."""

import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from relay.daemon import worker as module
from relay.daemon.shared_worker import SharedWorker
from relay.log.cursor import Cursor, SinkSettings
from relay.log.run import Ran
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from tests.eventually import eventually

CURSOR = Cursor(1, 1, "held", "http", 0, 3, None, 1, "", None, None, SinkSettings())


class Idle:
    """Runs that are ended one by one and get nothing: another relay has the cursor."""

    def __init__(self) -> None:
        self.begun = 0
        self.ends = threading.Semaphore(0)

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> Mapping[int, Ran]:
        self.begun += 1
        assert self.ends.acquire(timeout=60)
        return {}

    def rest(self) -> None: ...

    def give_way(self, cursor_ids: Set[int]) -> None: ...


def at_work(worker: SharedWorker) -> bool:
    """Asked anew: a checker of types takes a property for what it was a moment ago."""
    return worker.at_work


def test_a_long_run_is_work_and_short_ones_without_end_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, runs = [0.0], Idle()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))

    @contextmanager
    def session(cursors: Sequence[Cursor], heartbeat: Heartbeat) -> Iterator[Idle]:
        yield runs

    def begun(count: int) -> None:
        assert runs.begun == count

    worker = SharedWorker(
        ("http", ""),
        telemetry=Telemetry(),
        sessions=session,
        turned=lambda: None,
        leave=lambda _: None,
    )
    try:
        worker.offer([CURSOR])
        eventually(lambda: begun(1))
        assert at_work(worker) is False
        now[0] = 10.0
        assert at_work(worker) is True
        # Offered before it is done, so that it is busy all the time.
        worker.offer([CURSOR])
        runs.ends.release()
        eventually(lambda: begun(2))
        assert at_work(worker) is False
        now[0] = 20.0
        assert at_work(worker) is True
    finally:
        worker.stop()
        runs.ends.release(10)
        worker.join(10)
