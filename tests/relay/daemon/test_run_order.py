"""Which cursors the runs of many are of: what has something to send waits for no other."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager

import pytest

from relay.daemon import shared_worker, waiting_cursors
from relay.daemon.shared_worker import SharedWorker
from relay.log.cursor import Cursor, SinkSettings
from relay.log.run import Ran
from relay.monitoring.telemetry import Telemetry
from relay.process.heartbeat import Heartbeat
from tests.eventually import eventually

CURSORS = [
    Cursor(n, n, f"s{n}", "http", 0, 3, None, 1, "", None, None, SinkSettings()) for n in range(8)
]
MOVING, SENDING = CURSORS[:4], CURSORS[4:]


class Recorded:
    """Runs that note their cursors. The first one lasts until it is let go."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.asked_to_give_way: list[set[int]] = []
        self.go_on = threading.Event()
        # Those that the end of a run claims for the next one, and what happens just then.
        self.begins_again: set[int] = set()
        self.at_end: Callable[[], None] = lambda: None

    def run(self, cursors: Sequence[Cursor], limit: int, *, again: bool) -> Mapping[int, Ran]:
        self.runs.append([cursor.id for cursor in cursors])
        assert self.go_on.wait(30)
        begun = {cursor.id for cursor in cursors} & self.begins_again if again else set()
        self.begins_again -= begun
        at_end, self.at_end = self.at_end, lambda: None
        at_end()
        return {one.id: Ran(progressed=True, begun=one.id in begun) for one in cursors}

    def rest(self) -> None: ...

    def give_way(self, cursor_ids: Set[int]) -> None:
        if cursor_ids:
            self.asked_to_give_way.append(set(cursor_ids))


@pytest.fixture
def runs() -> Recorded:
    return Recorded()


@pytest.fixture
def worker(runs: Recorded) -> Iterator[SharedWorker]:
    @contextmanager
    def session(cursors: Sequence[Cursor], heartbeat: Heartbeat) -> Iterator[Recorded]:
        yield runs

    made = SharedWorker(
        ("http", ""),
        telemetry=Telemetry(),
        sessions=session,
        turned=lambda: None,
        leave=lambda _: None,
    )
    yield made
    runs.go_on.set()
    made.stop()
    made.join(10)


def _run_count(runs: Recorded, count: int) -> Callable[[], None]:
    def check() -> None:
        assert len(runs.runs) >= count

    return check


def test_what_has_something_to_send_goes_before_what_only_moves(
    worker: SharedWorker, runs: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_cursors, "MOVE_TURN_SECONDS", 60.0)
    monkeypatch.setattr(shared_worker, "MAX_TOGETHER", 2)
    worker._most = 2
    worker.offer(CURSORS[:1])
    eventually(_run_count(runs, 1))
    worker.offer_to_move(MOVING)
    worker.offer(SENDING)
    runs.go_on.set()
    eventually(_run_count(runs, 5))
    of_run = [set(one) for one in runs.runs[1:]]
    assert set.union(*of_run[:2]) == {cursor.id for cursor in SENDING}
    assert set.union(*of_run[2:]) == {cursor.id for cursor in MOVING}


def test_one_that_was_to_move_and_is_wanted_meanwhile_goes_with_the_first(
    worker: SharedWorker, runs: Recorded
) -> None:
    worker.offer(CURSORS[:1])
    eventually(_run_count(runs, 1))
    worker.offer_to_move(MOVING)
    worker.offer([MOVING[2]])
    # And one that has something to send is not put off.
    worker.offer_to_move([MOVING[2]])
    runs.go_on.set()
    eventually(_run_count(runs, 3))
    assert runs.runs[1] == [MOVING[2].id]
    assert sorted(runs.runs[2]) == [one.id for one in MOVING if one is not MOVING[2]]


def test_those_that_move_have_a_turn_while_others_send_without_end(
    worker: SharedWorker, runs: Recorded
) -> None:
    worker.offer(CURSORS[:1])
    eventually(_run_count(runs, 1))
    worker.offer_to_move(MOVING)
    worker.offer(SENDING)
    runs.go_on.set()

    def moved() -> None:
        worker.offer(SENDING)
        assert any(set(one) >= {cursor.id for cursor in MOVING[1:]} for one in runs.runs)

    eventually(moved)


def test_a_run_is_told_that_others_wait_for_its_end(worker: SharedWorker, runs: Recorded) -> None:
    worker.offer(CURSORS[:1])
    eventually(_run_count(runs, 1))
    worker.offer_to_move(MOVING)
    assert runs.asked_to_give_way == []
    worker.offer(SENDING)
    assert runs.asked_to_give_way == [{cursor.id for cursor in SENDING}]


def test_what_is_new_after_a_claim_for_the_next_run_has_a_run_of_its_own(
    worker: SharedWorker, runs: Recorded
) -> None:
    """The claim may have come before the message: where no other follows, nothing has seen it."""
    runs.begins_again = {SENDING[0].id}
    worker.offer(SENDING[:1])
    eventually(_run_count(runs, 1))
    # The claim for the next run comes with this run's end, before this offer is taken.
    runs.at_end = lambda: worker.offer(SENDING[:2])
    runs.go_on.set()
    eventually(_run_count(runs, 3))
    first, second, third = runs.runs
    assert (first, second) == ([SENDING[0].id], [SENDING[0].id])
    assert sorted(third) == [SENDING[0].id, SENDING[1].id]
