"""A run of many that fails as a whole: the one at fault goes alone in the end, and no other."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

import pytest
from psycopg import errors

from relay.daemon.shared_worker import SharedWorker
from relay.log.cursor import Cursor, SinkSettings
from relay.log.run import Ran
from relay.log.sink import SinkAway
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from tests.eventually import eventually

CURSORS = [
    Cursor(n, n, f"s{n}", "http", 0, 3, None, 1, "", None, None, SinkSettings()) for n in range(8)
]
CULPRIT = 5


class Failing:
    """Runs of which each with the culprit in it fails."""

    def __init__(self, fault: Exception) -> None:
        self.went: set[int] = set()
        self._fault = fault

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> Mapping[int, Ran]:
        if any(cursor.id == CULPRIT for cursor in cursors):
            raise self._fault
        self.went.update(cursor.id for cursor in cursors)
        return {cursor.id: Ran(progressed=True) for cursor in cursors}

    def rest(self) -> None: ...

    def give_way(self, cursor_ids: Set[int]) -> None: ...


@pytest.mark.parametrize(
    ("fault", "leaves"),
    [
        (errors.LockNotAvailable("held"), [CULPRIT]),
        pytest.param(ValueError("a mistake"), [CULPRIT], marks=pytest.mark.nightly),
        (SinkAway("no answer"), []),
    ],
)
def test_the_others_go_on_and_only_the_one_at_fault_leaves(
    fault: Exception, leaves: list[int]
) -> None:
    runs, left = Failing(fault), list[int]()

    @contextmanager
    def session(cursors: Sequence[Cursor], heartbeat: Heartbeat) -> Iterator[Failing]:
        yield runs

    worker = SharedWorker(
        ("http", ""),
        telemetry=Telemetry(),
        sessions=session,
        turned=lambda: None,
        leave=left.append,
    )

    def all_others_went() -> None:
        missing = [one for one in CURSORS if one.id not in runs.went and one.id not in left]
        worker.offer(missing)
        assert runs.went == {one.id for one in CURSORS} - {CULPRIT}
        assert sorted(set(left)) == leaves

    try:
        eventually(all_others_went, 60)
    finally:
        worker.stop()
        worker.join(10)
