"""Whether the log has messages that it had not at the last look: a question that costs the same
however many cursors there are, and that is asked between two probes.
"""

from relay.database import Connection, demand_writable
from relay.log.session import set_local

# The two arms of "not visible in the last look's snapshot", as the probe asks them of a cursor's
# `seen`. This look's snapshot comes from the same statement: what commits later is the next look's.
NEWS = """
select pg_current_snapshot()::text, array(
    select class.priority from generate_series(1, 5) as class (priority)
    where exists (
        select from outbox.finished_ranges(pg_snapshot_xmax(%(seen)s::pg_snapshot)) as finished
        cross join lateral (
            select from outbox.message m
            where m.priority = class.priority::smallint
              and m.xid >= finished.from_xid and m.xid < finished.before_xid
            limit 1
        ) m)
    or exists (
        select from outbox.message m
        where m.priority = class.priority::smallint
          and m.xid = any (array(
              select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
              where pg_visible_in_snapshot(x, (select pg_current_snapshot())))))
)
"""
# By full names, and in a transaction that sets nothing: it costs a fifth of the other.
HERE = "select pg_catalog.pg_current_snapshot()::pg_catalog.text"


class News:
    """One relay's looks, over one connection. A look writes nothing."""

    def __init__(self, connection: Connection, relay: str) -> None:
        self._connection = connection
        self._name = f"outbox-relay {relay}"
        self._seen = self._here()
        self._had_news = False

    def look(self) -> frozenset[int]:
        """The priorities that have messages which were not there at the last look."""
        if not self._had_news and self._here() == self._seen:
            # No transaction has written anything.
            return frozenset()
        with self._connection.pipeline():
            server = set_local(self._connection, self._name, timeout_seconds=60)
            found = self._connection.execute(NEWS, {"seen": self._seen}, prepare=True)
        demand_writable(server.fetchone())
        row = found.fetchone()
        assert row is not None
        self._seen, priorities = row
        self._had_news = bool(priorities)
        return frozenset(priorities)

    def _here(self) -> str:
        row = self._connection.execute(HERE, prepare=True).fetchone()
        assert row is not None
        return str(row[0])
