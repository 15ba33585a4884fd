"""Writers that do all that a transaction may do, and go on when the database goes away or moves."""

import threading
from random import Random
from typing import Any, LiteralString

import psycopg

from tests.chaos.places import AUDIT, BILLING, LATE, NARROW, NARROW_BYTES, PARCELS, Places
from tests.chaos.write_pause import WritePause
from tests.customers import Customer

WRITERS = 5
PARCELS_IN_COMMON = 60
# The groups of the writer whose transactions last for seconds: no other writer waits for them.
PARCELS_HELD_LONG = 4
MAX_PAUSE_SECONDS = 0.08
# A session that the server forgot must not keep the campaign from ending.
STATEMENT_TIMEOUT = "set statement_timeout = '30s'"

SCHEMA = "create schema chaos"
TABLE = "create table chaos.parcel (id integer primary key, state bigint not null default 0)"
ROWS = "insert into chaos.parcel (id) select generate_series(0, %s)"


def set_up(here: Places) -> None:
    """The table whose rows the writers lock and count in."""
    with here.connect() as connection:
        connection.execute(SCHEMA)
        connection.execute(TABLE)
        connection.execute(ROWS, [PARCELS_IN_COMMON + PARCELS_HELD_LONG - 1])


class Writer(threading.Thread):
    """One session after the other; `fault` is what ended it before its time."""

    def __init__(
        self, here: Places, name: str, seed: str, write_pause: WritePause, stop: threading.Event
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.transactions = 0
        self.fault: BaseException | None = None
        self._here = here
        self._write_pause = write_pause
        self._stop_asked = stop
        self._random = Random(seed)

    def run(self) -> None:
        try:
            while not self._stop_asked.is_set():
                try:
                    with self._here.connect() as session:
                        session.execute(STATEMENT_TIMEOUT)
                        self._write_on(session)
                except (
                    psycopg.OperationalError,
                    psycopg.errors.ReadOnlySqlTransaction,
                    psycopg.Rollback,
                ):
                    # The server is down, is the primary no more, or has just ended this session,
                    # perhaps at a rollback. Whether the transaction under way committed, the log
                    # tells.
                    self._stop_asked.wait(0.1)
        except BaseException as fault:
            self.fault = fault

    def _write_on(self, session: psycopg.Connection[Any]) -> None:
        while not self._stop_asked.wait(self._random.uniform(0, MAX_PAUSE_SECONDS)):
            self._write_pause.wait_out(self._stop_asked)
            self.transactions += 1
            with session.transaction():
                self._write(session)

    def _write(self, session: psycopg.Connection[Any]) -> None:
        """One transaction. A row lock first, then what tells of it: so the group has an order."""
        random = self._random
        if random.random() < 0.2:
            # Its xid long before it writes: then it waits for a row that a later one holds.
            session.execute("select pg_current_xact_id()")
        # In one order, so that no two writers wait for each other.
        for parcel in sorted(random.sample(range(PARCELS_IN_COMMON), random.choice((1, 1, 2, 3)))):
            if random.random() < 0.1:
                with session.transaction(force_rollback=True):
                    self._step(session, parcel, "undone")
            self._step(session, parcel)
        if random.random() < 0.1:
            session.execute(ALONE, {"key": f"{self._attempt()}:alone"})
        if random.random() < 0.002:
            self._publish_oversize(session)
        if random.random() < 0.1:
            # Commits late: others draw ids and commit meanwhile.
            self._stop_asked.wait(random.uniform(0.02, 0.3))
        if random.random() < 0.1:
            raise psycopg.Rollback

    def _attempt(self, kind: str = "done") -> str:
        """No dot may be in a key."""
        return f"{self.name}:{self.transactions}:{kind}"

    def _step(self, session: psycopg.Connection[Any], parcel: int, kind: str = "done") -> None:
        random = self._random
        channels = random.sample((PARCELS, AUDIT, BILLING, LATE, NARROW), random.choice((1, 2, 3)))
        values = {
            "parcel": parcel,
            "attempt": self._attempt(kind),
            "channels": channels,
            "priority": random.choice((1, 3, 3, 5)),
        }
        session.execute(STEP, values)

    def _publish_oversize(self, session: psycopg.Connection[Any]) -> None:
        """More than its topic takes, in the middle of a group."""
        values = {
            "parcel": self._random.randrange(PARCELS_IN_COMMON),
            "key": f"{self._attempt()}:oversize",
            "channel": NARROW,
            "size": 2 * NARROW_BYTES,
        }
        session.execute(OVERSIZE, values)


class LongWriter(Writer):
    """Transactions that stay open for seconds, with messages from their first moment on."""

    def _write(self, session: psycopg.Connection[Any]) -> None:
        for part in range(self._random.randint(2, 8)):
            parcel = PARCELS_IN_COMMON + part % PARCELS_HELD_LONG
            self._step(session, parcel)
            self._stop_asked.wait(self._random.uniform(0.2, 2))
            if self._write_pause.is_on:
                return


class Shopper(Customer):
    """A customer who waits out the write pause."""

    def __init__(self, here: Places, write_pause: WritePause, stop: threading.Event) -> None:
        super().__init__(here.service_url, stop)
        self._write_pause = write_pause

    def _buy(self) -> None:
        self._write_pause.wait_out(self._stop_asked)
        super()._buy()


# The publish is called for the row that the update gives back, and so after it has the lock.
STEP: LiteralString = """
with parcel as (
    update chaos.parcel set state = state + 1 where id = %(parcel)s returning id, state
)
select outbox.publish(
    channel, 'chaos.step', json_build_object('key', key, 'note', repeat('.', 200)),
    group_key => 'parcel-' || id, priority => %(priority)s, idempotency_key => key)
from parcel cross join lateral (
    select channel, concat_ws(':', %(attempt)s::text, id, state, n) as key
    from unnest(%(channels)s::text[]) with ordinality as wanted (channel, n)
) as message
"""
ALONE = """
select outbox.publish('chaos.parcels', 'chaos.alone', json_build_object('key', %(key)s::text),
                      idempotency_key => %(key)s)
"""
# Without the group's lock: it never arrives, so its own place in the order is never asked for.
OVERSIZE = """
select outbox.publish(%(channel)s, 'chaos.oversize',
                      json_build_object('key', %(key)s::text, 'note', repeat('x', %(size)s)),
                      group_key => 'parcel-' || %(parcel)s::text, idempotency_key => %(key)s)
"""


def writers(
    here: Places, seed: int, write_pause: WritePause, stop: threading.Event
) -> list[Writer]:
    """The threads, not yet started."""
    several = [
        Writer(here, f"w{number}", f"{seed}-{number}", write_pause, stop)
        for number in range(WRITERS)
    ]
    return [*several, LongWriter(here, "long", f"{seed}-long", write_pause, stop)]
