"""A poll that finds nothing writes nothing."""

from tests.relay.recording import Relay
from tests.sql.log import Session, publish

OWN_WAL = "select wal_bytes from pg_stat_get_backend_wal(pg_backend_pid())"
FLUSH = "select pg_stat_force_next_flush()"


def wal_bytes(relay: Relay) -> int:
    """What the relay's session has written to the WAL until now."""
    relay.connection.execute(FLUSH)
    row = relay.connection.execute(OWN_WAL).fetchone()
    assert row is not None
    return int(row[0])


def test_a_hundred_idle_probes_write_no_wal(db: Session, relay: Relay) -> None:
    publish(db, "a")
    relay.drain()
    relay.probe()
    before = wal_bytes(relay)
    for _ in range(100):
        assert relay.probe() == []
    assert wal_bytes(relay) == before


def test_an_idle_probe_takes_no_transaction_id(db: Session, relay: Relay) -> None:
    publish(db, "a")
    relay.drain()
    with relay.connection.transaction():
        assert relay.probe() == []
        row = relay.connection.execute("select pg_current_xact_id_if_assigned()").fetchone()
    assert row == (None,)


def test_a_run_writes_some_wal_as_this_counter_shows(db: Session, relay: Relay) -> None:
    before = wal_bytes(relay)
    publish(db, "a")
    relay.drain()
    assert wal_bytes(relay) > before
