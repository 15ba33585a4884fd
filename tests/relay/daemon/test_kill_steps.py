"""kill -9 at every step of a run, each placed by what is on the wire or locked at that moment."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.proxy import Proxy
from tests.relay.stage import Stage
from tests.relay.wires import Wires

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

MESSAGES = 1_000
# What a session says in its first run: it reads the log once the cursor is its own, and writes the
# checkpoint once everything is acknowledged.
READS = b"order by m.id"
CHECKPOINTS = b"insert into outbox.checkpoint"
PAYLOAD = b'{"n": '


@pytest.fixture
def stage(wires: Wires) -> Stage:
    """With a run's worth of messages that no relay has delivered yet."""
    wires.stage.create_topic("orders")
    wires.stage.publish(MESSAGES, "orders")
    return wires.stage


def killed_at(word: bytes, proxy: Proxy, wires: Wires) -> None:
    """Starts a relay and kills it when it says `word`, which goes no further."""
    struck = threading.Event()
    relays: list[Program] = []
    there = threading.Event()

    def strike(data: bytes) -> None:
        if word in data and not struck.is_set():
            there.wait(10)
            relays[0].kill()
            struck.set()
        if struck.is_set():
            raise ConnectionAbortedError("its sender is dead")

    proxy.watch = strike
    relays.append(wires.relay())
    there.set()
    assert struck.wait(20), f"{word!r} was never said"


def repeats_of_the_next(stage: Stage) -> int:
    """Another relay goes on, with what is left and with what comes: how many came again."""
    stage.relay()
    stage.publish(100, "orders")
    (reckoning,) = stage.all_arrived("orders")
    assert stage.dead_letters() == []
    return reckoning.repeats


def test_killed_after_its_claim_nothing_is_repeated(stage: Stage, wires: Wires) -> None:
    killed_at(READS, wires.database, wires)
    assert stage.arrivals("orders") == []
    assert repeats_of_the_next(stage) == 0


def test_killed_with_its_messages_on_their_way_nothing_is_lost(stage: Stage, wires: Wires) -> None:
    killed_at(PAYLOAD, wires.kafka, wires)
    repeats_of_the_next(stage)


def test_killed_before_the_acknowledgement_its_run_alone_is_repeated(
    stage: Stage, wires: Wires
) -> None:
    def deafen(data: bytes) -> None:
        if PAYLOAD in data:
            wires.kafka.mute()

    wires.kafka.watch = deafen
    relay = wires.relay()

    def some_there() -> int:
        arrived = len(stage.arrivals("orders"))
        assert arrived > 0
        return arrived

    arrived = eventually(some_there, 20)
    assert stage.checkpoints() == 0
    relay.kill()
    assert arrived <= repeats_of_the_next(stage) <= MESSAGES


def test_killed_after_the_acknowledgement_its_run_alone_is_repeated(
    stage: Stage, wires: Wires
) -> None:
    killed_at(CHECKPOINTS, wires.database, wires)
    assert stage.reckoning("orders").lost == []
    assert repeats_of_the_next(stage) == MESSAGES


# Holds a commit up between its transaction's last statement and its end.
GATE = """
create function gate() returns trigger language plpgsql as $$
begin
    perform set_config('lock_timeout', '0', true);
    perform pg_advisory_xact_lock(8);
    return null;
end
$$;
create constraint trigger gate after insert on outbox.checkpoint
deferrable initially deferred for each row execute function gate()
"""
WAITING = """
select pid from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'advisory'
"""
GONE = "select from pg_stat_activity where pid = %s"


@contextmanager
def killed_in_commit(stage: Stage, wires: Wires) -> Iterator[int]:
    """A relay that is killed while its commit waits at the gate, which opens in the end.

    Gives the process id of its backend.
    """
    stage.execute(GATE)

    def waiting() -> int:
        waits = stage.query(WAITING)
        assert len(waits) == 1
        return int(waits[0][0])

    with stage.database() as keeper:
        keeper.execute("select pg_advisory_lock(8)")
        relay = wires.relay()
        backend = eventually(waiting, 20)
        relay.kill()
        yield backend


def over(stage: Stage, backend: int) -> None:
    """Raises AssertionError until the dead relay's session is over."""
    assert stage.query(GONE, backend) == []


def test_killed_after_the_checkpoint_its_run_alone_is_repeated_where_the_commit_fails(
    stage: Stage, wires: Wires
) -> None:
    with killed_in_commit(stage, wires) as backend:
        stage.query("select pg_terminate_backend(%s, 5000)", backend)
    assert stage.checkpoints() == 0
    assert repeats_of_the_next(stage) == MESSAGES


def test_killed_after_the_checkpoint_nothing_is_repeated_where_the_commit_happens(
    stage: Stage, wires: Wires
) -> None:
    with killed_in_commit(stage, wires) as backend:
        pass
    eventually(lambda: over(stage, backend))
    assert stage.checkpoints() == 1
    assert repeats_of_the_next(stage) == 0


def test_killed_after_its_commit_nothing_is_repeated(stage: Stage, wires: Wires) -> None:
    def deafen(data: bytes) -> None:
        if CHECKPOINTS in data:
            wires.database.mute()

    wires.database.watch = deafen
    relay = wires.relay()

    def committed() -> None:
        assert stage.checkpoints() == 1

    eventually(committed, 20)
    relay.kill()
    assert repeats_of_the_next(stage) == 0
