"""A poll that finds nothing writes nothing."""

from tests.eventually import eventually
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

OWN_WAL = "select wal_bytes from pg_stat_get_backend_wal(pg_backend_pid())"
FLUSH = "select pg_stat_force_next_flush()"


IS_NAMED = "select application_name from pg_stat_activity where pid = pg_backend_pid()"


def wal_bytes(relay: Relay) -> int:
    """What the relay's session has written to the WAL until now."""
    relay.connection.execute(FLUSH)
    row = relay.connection.execute(OWN_WAL).fetchone()
    assert row is not None
    return int(row[0])


def test_a_hundred_idle_probes_write_no_wal(db: Session, relay: Relay) -> None:
    publish(db, "a")
    relay.drain()

    def probed_for_nothing() -> None:
        before = wal_bytes(relay)
        for _ in range(100):
            assert relay.probe() == []
        assert wal_bytes(relay) == before

    # The first session to read what others wrote may prune a page or mark rows: logged, once.
    eventually(probed_for_nothing)


def test_an_idle_probe_takes_no_transaction_id(db: Session, relay: Relay) -> None:
    publish(db, "a")
    relay.drain()
    with relay.connection.transaction():
        assert relay.probe() == []
        row = relay.connection.execute("select pg_current_xact_id_if_assigned()").fetchone()
    assert row == (None,)


def test_a_session_that_probes_goes_by_its_relays_name(db: Session, relay: Relay) -> None:
    """pg_stat_activity shows this session of the relay at any moment."""
    with relay.connection.transaction():
        relay.probe()
        row = relay.connection.execute(IS_NAMED).fetchone()
    assert row == (f"outbox-relay {relay.settings.name}",)


def test_a_run_writes_some_wal_as_this_counter_shows(db: Session, relay: Relay) -> None:
    before = wal_bytes(relay)
    publish(db, "a")
    relay.drain()
    assert wal_bytes(relay) > before
