"""The service that the client talks to, and a look into its database."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import psycopg

from local.program import Program


@dataclass
class Service:
    """A running process; `key` has all scopes."""

    program: Program
    port: int
    key: str
    database: psycopg.Connection[Any]
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def name(self, prefix: str = "c") -> str:
        """A name that no other test has."""
        return f"{prefix}-{next(self._numbers)}"

    def published(self, channel: str) -> list[tuple[str, str]]:
        """(id, payload) of the channel's messages, by id."""
        return self.database.execute(
            """
            select id::text, convert_from(payload, 'UTF8') from outbox.message
            where channel = %s order by id
            """,
            [channel],
        ).fetchall()

    def add_dead_letters(self, subscription_id: str, type_: str, how_many: int) -> None:
        """Dead letters of that subscription, as a relay leaves them."""
        self.database.execute(
            """
            insert into outbox.dead_letter
                (subscription_id, cursor_id, message_id, priority, channel, type, idempotency_key,
                 content_type, payload, created_at, reason, detail, attempts)
            select subscription_id, cursor.id, 1000000 + n, 3, channels[1], %(type)s, 'key',
                   'application/json', convert_to('{"a": 1}', 'UTF8'), clock_timestamp(),
                   'http_500', 'detail', 9
            from outbox.cursor
            join outbox.subscription on subscription.id = subscription_id
            cross join generate_series(1, %(how_many)s) as n
            where subscription_id = %(subscription_id)s and priority = 3 and shard = 0
            """,
            {"type": type_, "how_many": how_many, "subscription_id": int(subscription_id)},
        )

    def add_inward_dead_letter(self, connector_id: str) -> list[str]:
        """A record that could not enter, as a relay leaves it; its id."""
        return [
            str(id_)
            for (id_,) in self.database.execute(
                """
                insert into outbox.source_dead_letter
                    (source_id, topic, partition, record_offset, key, value, header_names,
                     header_values, reason, detail)
                values (%s, 'orders', 0, 7, 'key', '\\x0076616c7565', '{x}', array['\\xff'::bytea],
                        'unfit', 'detail')
                returning id
                """,
                [int(connector_id)],
            )
        ]
