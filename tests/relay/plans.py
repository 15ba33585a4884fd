"""What a statement of the relay's really reads, by EXPLAIN (ANALYZE, BUFFERS)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import psycopg
from psycopg import sql

from relay.cursor import set_local

Mode = Literal["force_generic_plan", "force_custom_plan"]
PLACEHOLDER = re.compile(r"%\((\w+)\)s")


class Node(NamedTuple):
    """One node of a plan; `rows` are those it gave in all its loops."""

    kind: str
    relation: str
    rows: int


class Plan(NamedTuple):
    """An executed plan. `buffers` are the pages it touched, `nodes` every node of it."""

    buffers: int
    nodes: list[Node]

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
            ((plans,),) = connection.execute(execute).fetchall()
        finally:
            connection.execute("deallocate examined")
    root = plans[0]["Plan"]
    return Plan(root["Shared Hit Blocks"] + root["Shared Read Blocks"], list(_nodes(root)))


def _nodes(plan: Mapping[str, Any]) -> Iterator[Node]:
    rows = round(plan["Actual Rows"] * plan["Actual Loops"])
    yield Node(plan["Node Type"], plan.get("Relation Name", ""), rows)
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
