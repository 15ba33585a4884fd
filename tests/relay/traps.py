"""Traps on the wire to a database or to a broker, that spring at a relay's own words."""

import re
import struct
from collections.abc import Callable
from threading import Event, Lock

from local.program import Program
from tests.proxy import Proxy
from tests.relay.wires import Wires

# Kafka's numbers of requests: https://kafka.apache.org/protocol#protocol_api_keys
INIT_PRODUCER_ID = 22
END_TXN = 26
TXN_OFFSET_COMMIT = 28

# A cursor's transactional id behind its length.
TRANSACTIONAL_ID = rb".{1,3}outbox\.[0-9a-f-]{36}\.\d+(?!\d)"

# How every checkpoint begins on the wire to Postgres.
CHECKPOINT = re.compile(b"insert into outbox.checkpoint")
# A new owner of an exactly-once cursor writes so many of them before the first run that sends.
OWNERS_CHECKPOINTS = 1


def spied(wires: Wires, name: str, **settings: str) -> Program:
    """Starts a relay on the watched wires that tells Kafka its name with every request."""
    return wires.relay(RELAY_NAME=name, KAFKA_CLIENT_ID=name, **settings)


def request(api: int, client_id: str) -> re.Pattern[bytes]:
    """How a request begins: its number, a version, a correlation id and the client's id."""
    client = struct.pack(">h", len(client_id)) + client_id.encode()
    return re.compile(struct.pack(">h", api) + b"\0..{4}" + re.escape(client), re.DOTALL)


def new_producer(client_id: str) -> re.Pattern[bytes]:
    """InitProducerId of a cursor's new producer, which has no id yet; after an abort it has."""
    init = request(INIT_PRODUCER_ID, client_id).pattern
    return re.compile(init + TRANSACTIONAL_ID + rb".{4}\xff{8}", re.DOTALL)


def commit_of(client_id: str) -> re.Pattern[bytes]:
    """EndTxn of a cursor's transaction: after its id, producer id and epoch, 1 for a commit."""
    end = request(END_TXN, client_id).pattern
    return re.compile(end + TRANSACTIONAL_ID + rb".{10}\x01", re.DOTALL)


class Trap:
    """Springs once, when `pattern` comes over a proxy's wire and before it goes on.

    It lets the first `passing` of them by.
    """

    def __init__(
        self,
        wire: Proxy,
        pattern: re.Pattern[bytes],
        spring: Callable[[], object],
        passing: int = 0,
    ) -> None:
        self._pattern = pattern
        self._spring = spring
        self._passing = passing
        self._armed = Lock()
        self._sprung = Event()
        wire.watch = self._look

    def _look(self, data: bytes) -> None:
        if not self._pattern.search(data):
            return
        if self._passing > 0:
            self._passing -= 1
        elif self._armed.acquire(blocking=False):
            # Said first: what springs may wait for its test.
            self._sprung.set()
            self._spring()

    def wait(self, timeout_seconds: float = 30) -> None:
        """Raises AssertionError where it has not sprung in time."""
        assert self._sprung.wait(timeout_seconds), f"{self._pattern.pattern!r} never came by"


def kill_at_first_run(wire: Proxy, relay: Program) -> None:
    """Kills the new owner of an exactly-once cursor where it writes its first run's checkpoint."""
    kill_at(wire, CHECKPOINT, relay, passing=OWNERS_CHECKPOINTS)


def kill_at(wire: Proxy, pattern: re.Pattern[bytes], relay: Program, *, passing: int = 0) -> None:
    """Waits until a relay says these words, which get no further, and kills it.

    It may say them `passing` times before.
    """
    dead = Event()

    def strike() -> None:
        relay.kill()
        wire.cut()
        dead.set()

    Trap(wire, pattern, strike, passing)
    assert dead.wait(30), f"{pattern.pattern!r} never came by"
    wire.watch = lambda _: None
