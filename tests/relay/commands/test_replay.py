"""A replay is counted, begun, and gives up its wait for a run."""

import psycopg
import pytest
from psycopg import errors

from relay.database import Connection
from relay.operate import replay
from relay.operate.not_found import NotFoundError
from tests.relay.commands.billing import billing
from tests.relay.operating import outbox_relay, publish


def test_a_replay_of_what_is_not_there_is_refused(connection: Connection) -> None:
    with pytest.raises(NotFoundError, match="no subscription kafak"):
        replay.replay(connection, "kafak", from_message_id=publish(connection))
    with pytest.raises(NotFoundError, match="no message 12345"):
        replay.replay(connection, "kafka", from_message_id=12345)


PASS = """
    insert into outbox.checkpoint (cursor_id, n, seen, relay)
    select cursor_id, max(n) + 1, pg_current_snapshot(), 'test' from outbox.checkpoint
    group by cursor_id
"""


@pytest.mark.usefixtures("secret")
def test_a_replay_is_counted_dry_and_then_waits_to_be_sent(
    connection: Connection, database_url: str
) -> None:
    _, second, _ = (publish(connection) for _ in range(3))
    connection.execute(PASS)
    assert replay.replay(connection, "billing", from_message_id=second, dry_run=True) == 2
    assert billing(connection).backlog == 0
    environment = {"DATABASE_URL": database_url}
    told = outbox_relay("replay", "billing", "--from-message", str(second), environment=environment)
    assert (told.returncode, told.stdout) == (0, "replayed: 2\n")
    assert billing(connection).backlog == 2


def test_a_replay_does_not_wait_for_ever(
    connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message_id = publish(connection)
    monkeypatch.setattr(replay, "BOUNDS", replay.BOUNDS.replace("15s", "10ms"))
    with psycopg.connect(database_url) as run:
        run.execute("select from outbox.cursor for no key update")
        with pytest.raises(errors.LockNotAvailable):
            replay.replay(connection, "kafka", from_message_id=message_id)
