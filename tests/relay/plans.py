"""What a statement of the relay's really reads, by EXPLAIN (ANALYZE, BUFFERS)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import sql

from relay.log.session import set_local

Mode = Literal["force_generic_plan", "force_custom_plan"]
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class Node(NamedTuple):
    """One node of a plan; `rows` are those it gave in all its loops."""

    kind: str
    relation: str
    rows: int


# What this transaction took from the log's tables and indexes, with rows that no snapshot shows.
ENTRIES = """
    select coalesce(sum(pg_stat_get_xact_tuples_returned(member.oid)), 0)::bigint
    from (select inhrelid as oid from pg_inherits where inhparent = 'outbox.message'::regclass
          union all
          select indexrelid from pg_index join pg_inherits on inhrelid = indrelid
          where inhparent = 'outbox.message'::regclass) as member
"""


# Of the whole server: other tests' too.
IN_PROGRESS = "select count(*) from pg_snapshot_xip(pg_current_snapshot())"


class Plan(NamedTuple):
    """An executed plan.

    `buffers` are the pages it touched, `entries` what it took from the log's tables and indexes
    (with rows that no snapshot shows), `nodes` every node of it. `in_progress` transactions were
    seen in progress on the server: between each two of them a range of its own is read.
    """

    buffers: int
    entries: int
    nodes: list[Node]
    in_progress: int

    def sequential(self) -> list[str]:
        """The relations that were read from end to end."""
        return [node.relation for node in self.nodes if node.kind == "Seq Scan" and node.rows]

    def sorted_rows(self) -> int:
        """How many rows went through its sorts."""
        return sum(node.rows for node in self.nodes if node.kind in ("Sort", "Incremental Sort"))


def explain(
    connection: psycopg.Connection[Any],
    statement: str,
    parameters: Mapping[str, object],
    mode: Mode = "force_generic_plan",
    meanwhile: Callable[[], object] = lambda: None,
) -> Plan:
    """Runs a statement as the relay's session does, prepared and with its settings.

    Twice, in a transaction that is rolled back: the first run of a statement sets hint bits. What
    others do `meanwhile` comes between the two, so that the plan is older than what it reads.
    """
    names = list(parameters)
    numbered = PLACEHOLDER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    execute = sql.SQL("explain (analyze, buffers, format json) execute examined ({})").format(
        sql.SQL(", ").join(map(sql.Literal, parameters.values()))
    )
    with connection.transaction(force_rollback=True):
        set_local(connection, "outbox-relay explain", timeout_seconds=60)
        connection.execute("select set_config('plan_cache_mode', %s, true)", [mode])
        connection.execute(b"prepare examined as " + numbered.replace("%%", "%").encode())
        try:
            connection.execute(execute)
            meanwhile()
            before = entries_taken(connection)
            in_progress = _in_progress(connection)
            ((plans,),) = connection.execute(execute).fetchall()
            in_progress = max(in_progress, _in_progress(connection))
            entries = entries_taken(connection) - before
        finally:
            connection.execute("deallocate examined")
    root = plans[0]["Plan"]
    buffers = root["Shared Hit Blocks"] + root["Shared Read Blocks"]
    return Plan(buffers, entries, list(_nodes(root)), in_progress)


def entries_taken(connection: psycopg.Connection[Any]) -> int:
    """What the transaction that is open took from the log's tables and indexes so far."""
    ((entries,),) = connection.execute(ENTRIES).fetchall()
    return int(entries)


def _in_progress(connection: psycopg.Connection[Any]) -> int:
    ((number,),) = connection.execute(IN_PROGRESS).fetchall()
    return int(number)


def _nodes(plan: Mapping[str, Any]) -> Iterator[Node]:
    rows = round(plan["Actual Rows"] * plan["Actual Loops"])
    yield Node(plan["Node Type"], plan.get("Relation Name", ""), rows)
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
