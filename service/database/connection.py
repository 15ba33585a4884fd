"""A connection: what its session is told when it begins, and how it ends."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from select import POLLIN, poll
from typing import Any, LiteralString

from psycopg import AsyncConnection, IsolationLevel, OperationalError
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

CANCEL_SECONDS = 1.0

log = logging.getLogger(__name__)

# What a connection gets where DATABASE_URL says nothing else: bounds on how long this end waits for
# a server that vanished without closing it. What lies between the two forgets a connection that is
# quiet for some minutes, and the request that finds that out waits for nothing; so it is not quiet.
# Of several hosts the one that is no standby. And text as psycopg writes it, whatever the role's
# or the database's default is.
CONNECTION_DEFAULTS: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "target_session_attrs": "primary",
    "client_encoding": "utf8",
}

# psycopg reads times, and writes bytes, as it was last told that the server does, and in a pipeline
# it is told of BOUND too late. So the session says it besides. PgBouncer keeps these three apart by
# client; where another pooler does not, BOUND still holds.
STYLES: LiteralString = """
    select pg_catalog.pg_backend_pid(),
           pg_catalog.set_config('datestyle', 'ISO, YMD', false),
           pg_catalog.set_config('timezone', 'UTC', false),
           pg_catalog.set_config('standard_conforming_strings', 'on', false)
"""


def missing(defaults: Mapping[str, Any], database_url: str) -> dict[str, Any]:
    """The defaults of which the URL says nothing."""
    given = conninfo_to_dict(database_url)
    return {name: value for name, value in defaults.items() if name not in given}


class Connection(AsyncConnection[Any]):
    """A connection that is given up when it is interrupted and its server does not answer.

    psycopg asks the server to cancel the statement, and waits; a server that is frozen or cut off
    would hold the request for that long as well. And it leaves what it waited for as it is: the
    garbage collector would end that at any time, on a connection that is closed by then.
    """

    async def wait(self, gen: PQGen[RV], *bounds: Any, **named_bounds: Any) -> RV:
        """What comes of `gen`, which has ended whatever comes."""
        try:
            return await super().wait(gen, *bounds, **named_bounds)
        except BaseException:
            _end(gen)
            raise

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:  # noqa: ASYNC109
        """Asks the server to cancel what runs here, for a second; then closes the connection."""
        try:
            await super().cancel_safe(timeout=min(timeout, CANCEL_SECONDS))
        except Exception:
            self.pgconn.finish()
            raise


def _end(gen: PQGen[RV]) -> None:
    """What it says at its end is of no interest: its caller has been interrupted."""
    with suppress(Exception):
        while True:
            try:
                gen.close()
            except RuntimeError:
                # It waits for something else first, and is told once more.
                continue
            return


async def configure(connection: AsyncConnection[Any]) -> None:
    """Tells a new session what the service relies on.

    Raises OperationalError where the database's encoding is not UTF8.
    """
    # The server says it to every session, as it begins.
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        log.error(
            "database %s is encoded in %s, and the outbox needs UTF8: createdb --encoding=UTF8 "
            "--template=template0 NAME, and move your tables there",
            connection.info.dbname,
            encoding,
        )
        raise OperationalError("the database's encoding is not UTF8")
    (server_pid, *_) = await (await connection.execute(STYLES)).fetchone() or (0,)
    if connection.info.backend_pid != server_pid:
        # There is a pooler before the server: it hands out process ids of its own making. What
        # one client prepared is another's by name: one that keeps no account of it would run
        # the wrong statement.
        connection.prepare_threshold = None
    # Attributes of the client's, said with every BEGIN: no SET that a pooler would leak.
    await connection.set_isolation_level(IsolationLevel.READ_COMMITTED)
    await connection.set_read_only(False)


async def is_ended(connection: AsyncConnection[Any]) -> bool:
    """Whether the server, or a proxy before it, has ended the connection.

    The server is asked only where something has come unasked, since that mostly says so.
    """
    unasked = poll()
    unasked.register(connection.fileno(), POLLIN)
    if not unasked.poll(0):
        return False
    try:
        await AsyncConnectionPool.check_connection(connection)
    except OperationalError:
        return True
    return False
