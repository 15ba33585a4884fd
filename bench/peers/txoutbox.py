"""txoutbox, as its README shows it: asyncpg's pool, aiokafka's producer, LISTEN and NOTIFY."""

from collections.abc import Sequence
from typing import ClassVar, LiteralString

from bench.arena import Arena
from bench.peers.environment import versions
from bench.peers.python_peer import PythonPeer


class TxOutbox(PythonPeer):
    """Strict order by key, its default; acknowledged rows are deleted."""

    name = "txoutbox"
    program = "txoutbox_program.py"
    truncate: ClassVar[LiteralString] = "truncate public.txoutbox"
    fill: ClassVar[Sequence[LiteralString]] = (
        # One notification for all, where its trigger would send one for each.
        "set local session_replication_role = replica",
        """
        insert into public.txoutbox (topic, key, payload, headers)
        select %(topic)s, 'group-' || n %% 1000,
               convert_to(rpad('{"n": ' || n || ', "text": "', 498, 'x') || '"}', 'UTF8'), '{}'
        from generate_series(1, %(messages)s) as n
        """,
        "analyze public.txoutbox",
        "notify txoutbox",
    )
    publish: ClassVar[LiteralString] = """
        insert into public.txoutbox (topic, key, payload, headers)
        values (%(topic)s, %(group)s, convert_to(%(payload)s, 'UTF8'), '{}')
        returning id
    """
    distinct_rows: ClassVar[LiteralString] = """
        select distinct (to_jsonb(message) - '{id,created_at}'::text[])
                        || jsonb_build_object('payload', convert_from(payload, 'UTF8')::jsonb)
        from public.txoutbox as message
    """

    def publish_arguments(self, group: str, payload: str) -> list[str]:
        return [self.channel, group, payload]

    def relay_arguments(self, arena: Arena) -> list[str]:
        return [arena.kafka.bootstrap_servers]

    def versions(self) -> list[str]:
        return versions("txoutbox", "asyncpg", "aiokafka")
