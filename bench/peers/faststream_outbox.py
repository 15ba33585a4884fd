"""faststream-outbox, as its relay tutorial and its performance guide show it."""

from collections.abc import Sequence
from typing import ClassVar, LiteralString

from bench.arena import Arena
from bench.peers.environment import versions
from bench.peers.python_peer import PythonPeer


class FastStreamOutbox(PythonPeer):
    """Sixteen workers without an order among them, deletes in batches; no key reaches Kafka."""

    name = "faststream-outbox"
    program = "faststream_program.py"
    truncate: ClassVar[LiteralString] = "truncate public.faststream_outbox"
    fill: ClassVar[Sequence[LiteralString]] = (
        """
        insert into public.faststream_outbox (queue, payload, headers)
        select 'peers', convert_to(rpad('{"n":' || n || ',"text":"', 498, 'x') || '"}', 'UTF8'),
               jsonb_build_object('content-type', 'application/json',
                                  'correlation_id', gen_random_uuid())
        from generate_series(1, %(messages)s) as n
        """,
        "analyze public.faststream_outbox",
        "select pg_notify('outbox_faststream_outbox', 'peers')",
    )
    publish: ClassVar[LiteralString] = """
        insert into public.faststream_outbox (queue, payload, headers)
        values ('peers', convert_to(%(payload)s, 'UTF8'),
                jsonb_build_object('content-type', 'application/json',
                                   'correlation_id', gen_random_uuid()))
        returning id, pg_notify('outbox_faststream_outbox', queue)
    """
    distinct_rows: ClassVar[LiteralString] = """
        select distinct (to_jsonb(message) - '{id,created_at,next_attempt_at}'::text[])
                        #- '{headers,correlation_id}'
                        || jsonb_build_object('text', rtrim(convert_from(payload, 'UTF8')::jsonb
                                              ->> 'text', 'x'),
                                              'payload', convert_from(payload, 'UTF8')::jsonb
                                              - 'text')
        from public.faststream_outbox as message
    """

    def publish_arguments(self, group: str, payload: str) -> list[str]:
        return [payload]

    def relay_arguments(self, arena: Arena) -> list[str]:
        return [arena.kafka.bootstrap_servers, self.topic]

    def versions(self) -> list[str]:
        return versions("faststream-outbox", "faststream", "aiokafka", "SQLAlchemy")
