"""What the log has that it had not at the last look: a question that costs the same however many
cursors there are, and that is asked between two probes.
"""

from collections import defaultdict
from collections.abc import Mapping, Set

from relay.database import Connection, demand_writable
from relay.log.session import set_local

# Of so many new messages of a priority it is not told which they are.
MAX_TOLD = 500

# Channel and type of the new messages, by priority; None: there are too many to tell.
Told = Mapping[int, Set[tuple[bytes, bytes]] | None]

# The two arms of "not visible in the last look's snapshot", as the probe asks them of a cursor's
# `seen`. This look's snapshot comes from the same statement: what commits later is the next look's.
NEWS = """
select pg_current_snapshot()::text, kind.priority, kind.channel, kind.type, kind.messages
from (values (true)) as look
left join (
    select class.priority, m.channel, m.type, count(*) as messages
    from generate_series(1, 5) as class (priority)
    cross join lateral (
        (select m.channel, m.type
         from outbox.finished_ranges(pg_snapshot_xmax(%(seen)s::pg_snapshot)) as finished
         cross join lateral (
             select m.channel, m.type from outbox.message m
             where m.priority = class.priority::smallint
               and m.xid >= finished.from_xid and m.xid < finished.before_xid
             limit %(most)s::integer
         ) m
         limit %(most)s::integer)
        union all
        (select m.channel, m.type from outbox.message m
         where m.priority = class.priority::smallint
           and m.xid = any (array(
               select x from pg_snapshot_xip(%(seen)s::pg_snapshot) as x
               where pg_visible_in_snapshot(x, (select pg_current_snapshot()))))
         limit %(most)s::integer)
    ) m
    group by class.priority, m.channel, m.type
) as kind on true
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

    def look(self) -> Told:
        """Which messages are there that were not there at the last look."""
        if not self._had_news and self._here() == self._seen:
            # No transaction has written anything.
            return {}
        with self._connection.pipeline():
            server = set_local(self._connection, self._name, timeout_seconds=60)
            bounds = {"seen": self._seen, "most": MAX_TOLD}
            found = self._connection.execute(NEWS, bounds, prepare=True)
        demand_writable(server.fetchone())
        kinds: dict[int, set[tuple[bytes, bytes]] | None] = defaultdict(set)
        messages: dict[int, int] = defaultdict(int)
        for snapshot, priority, channel, type_, number in found.fetchall():
            self._seen = snapshot
            if priority is None:
                continue
            messages[priority] += number
            told = kinds[priority]
            if messages[priority] >= MAX_TOLD:
                kinds[priority] = None
            elif told is not None:
                told.add((channel.encode(), type_.encode()))
        self._had_news = bool(kinds)
        return kinds

    def _here(self) -> str:
        row = self._connection.execute(HERE, prepare=True).fetchone()
        assert row is not None
        return str(row[0])
