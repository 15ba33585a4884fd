"""What the doctor finds about locks: any login that may use the schema can make others wait."""

from collections.abc import Iterator

from relay.database import Connection
from relay.doctor.finding import Finding, ok
from relay.monitoring.row_locks import row_locks
from relay.monitoring.table_locks import table_locks
from relay.operate.table import duration


def examine(connection: Connection) -> Iterator[Finding]:
    """Whose locks keep others from tables or rows. Reads no table itself; raises psycopg.Error."""
    tables, rows = table_locks(connection), row_locks(connection)
    for lock in tables:
        text = f"{lock}{_since(lock.seconds)}: publishing, delivery or maintenance wait for it"
        hint = f"unless it is a migration: select pg_terminate_backend({lock.pid})"
        yield Finding("fault", "locks", text, f"{hint}; {_again(lock.login)}")
    for row in rows:
        text = (
            f"{row}{_since(row.seconds)}: meanwhile their subscriptions are not delivered, or are "
            "sent again what can't be noted, and their inward connectors take nothing in"
        )
        hint = f"unless it is a command or a request that is at work: {row.end}"
        yield Finding("fault", "locks", text, f"{hint}; {_again(row.login)}")
    if not tables and not rows:
        yield ok("locks", "no session keeps others from the tables, or from rows for long")


def _since(seconds: float | None) -> str:
    return f" for {duration(seconds)}" if seconds is not None else ""


def _again(login: str | None) -> str:
    if login is None:
        return "it can't come again, since its role was dropped"
    return f"if it comes again, revoke the login's role outbox_…, or: alter role {login} nologin"
