"""Sessions of a schedule: none gives up because it stands still, or waits, for long."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from relay.log import reading, session
from tests.sql.log import Session

# Longer than any schedule takes; what it bounds is what a failed one has left behind.
OPTIONS = "-c statement_timeout=10min"
# How long a relay that stands still keeps its session: as long as its settings allow.
PATIENT = {"RELAY_BARRIER_SECONDS": "300"}
RUN_SECONDS = 600.0
LOCK_TIMEOUT = "'lock_timeout', '2s'"


def connect(database_url: str) -> Session:
    """A session in autocommit. Raises psycopg.OperationalError."""
    return psycopg.connect(database_url, autocommit=True, connect_timeout=10, options=OPTIONS)


@contextmanager
def patient_relays() -> Iterator[None]:
    """Here a relay's run lasts, and waits for a lock, for as long as sessions stand still."""
    set_local, run_seconds = session.SET_LOCAL, reading.RUN_SECONDS
    assert set_local.count(LOCK_TIMEOUT) == 1
    vars(session)["SET_LOCAL"] = set_local.replace(LOCK_TIMEOUT, "'lock_timeout', '0'")
    vars(reading)["RUN_SECONDS"] = RUN_SECONDS
    try:
        yield
    finally:
        vars(session)["SET_LOCAL"] = set_local
        vars(reading)["RUN_SECONDS"] = run_seconds
