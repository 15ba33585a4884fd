"""One transaction: what it begins with, its statements, and the messages that commit with them."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import class_row

if TYPE_CHECKING:
    from service.spans import Spans

# Every transaction begins with it: what the service relies on, whatever the server, the database or
# the role have set. For the transaction only: a pooler hands the session on.
#
# The first column is 'on' where the server's operator has made it read-only, as for a switchover;
# a default of the database or of the role is no such word, and BEGIN says READ WRITE. A standby
# refuses that by itself.
#
# What search_path puts before pg_catalog could shadow all that a statement names; pg_temp is
# searched first unless it is named last. A row lock that is not granted, a frozen client, a bad
# plan: each ends on the server as well. With row_security off a policy that would hide rows is an
# error: a payment for an order that the policy hides would be acknowledged. An answer says that
# what was written is there, so no commit is answered before it is on the server's disk; whether a
# standby has it too is the operator's to say.
BOUND: LiteralString = """
    select case
               when pg_catalog.current_setting('default_transaction_read_only')
                        operator(pg_catalog.=) 'on'
                    and exists (
                        select from pg_catalog.pg_settings as setting
                        where setting.name operator(pg_catalog.=) 'default_transaction_read_only'
                          and (setting.source operator(pg_catalog.=) 'configuration file'
                               or setting.source operator(pg_catalog.=) 'command line'))
                   then pg_catalog.set_config('transaction_read_only', 'on', true)
           end,
           pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
           pg_catalog.set_config('datestyle', 'ISO, YMD', true),
           pg_catalog.set_config('intervalstyle', 'postgres', true),
           pg_catalog.set_config('timezone', 'UTC', true),
           pg_catalog.set_config('bytea_output', 'hex', true),
           pg_catalog.set_config('extra_float_digits', '1', true),
           pg_catalog.set_config('standard_conforming_strings', 'on', true),
           pg_catalog.set_config('array_nulls', 'on', true),
           pg_catalog.set_config('quote_all_identifiers', 'off', true),
           pg_catalog.set_config('row_security', 'off', true),
           case when pg_catalog.current_setting('synchronous_commit') operator(pg_catalog.=) 'off'
               then pg_catalog.set_config('synchronous_commit', 'local', true)
           end,
           pg_catalog.set_config('statement_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('lock_timeout', %(milliseconds)s, true),
           pg_catalog.set_config('idle_in_transaction_session_timeout', %(milliseconds)s, true),
           case when pg_catalog.current_setting('server_version_num')::pg_catalog.int4
                         operator(pg_catalog.>=) 170000
               then pg_catalog.set_config('transaction_timeout', '0', true)
           end
"""

# Where nothing is exported.
NO_SPAN = nullcontext()

Row = TypeVar("Row")
Value = TypeVar("Value")


class Transaction:
    """One transaction: its statements, and the messages that commit with them.

    Statements are pipelined: they go out together, and only reading a result waits for it. An
    error may therefore rise later than its statement, at the latest when the transaction ends.
    """

    def __init__(
        self,
        connection: AsyncConnection[Any],
        traceparent: str | None,
        spans: "Spans | None" = None,
    ) -> None:
        self._connection = connection
        self._spans = spans
        # What each message that it publishes carries, as JSON.
        self.message_headers = (
            None
            if traceparent is None
            else msgspec.json.encode({"traceparent": traceparent}).decode()
        )

    async def execute(self, statement: LiteralString, parameters: Mapping[str, object]) -> None:
        """Sends a statement whose rows, if it has any, are not read."""
        await self._connection.execute(statement, parameters)

    async def select(
        self, row: type[Row], statement: LiteralString, parameters: Mapping[str, object]
    ) -> AsyncCursor[Row]:
        """Sends a statement whose rows are read from the cursor later, one `row` each.

        For statements that go out together with others; else `one`, `all` and `value`.
        """
        cursor = self._connection.cursor(row_factory=class_row(row))
        return await cursor.execute(statement, parameters)

    async def one(
        self, row: type[Row], statement: LiteralString, parameters: Mapping[str, object]
    ) -> Row | None:
        """The first row; None where there is none."""
        return await (await self.select(row, statement, parameters)).fetchone()

    async def all(
        self, row: type[Row], statement: LiteralString, parameters: Mapping[str, object]
    ) -> list[Row]:
        """Every row, in the statement's order."""
        return await (await self.select(row, statement, parameters)).fetchall()

    async def value(
        self, kind: type[Value], statement: LiteralString, parameters: Mapping[str, object]
    ) -> Value | None:
        """The first row's only column; None where it is NULL, and where there is no row."""
        cursor = await self._connection.execute(statement, parameters)
        row = await cursor.fetchone()
        if row is None or row[0] is None:
            return None
        [value] = row
        assert isinstance(value, kind), f"{kind} was expected, and {type(value)} came"
        return value

    PUBLISH: LiteralString = """
        select outbox.publish(
            %(channel)s, %(type)s, %(payload)s,
            group_key => %(group_key)s, priority => %(priority)s, headers => %(headers)s)
    """

    async def publish(
        self, channel: str, type: str, payload: object, *, group_key: str, priority: int = 3
    ) -> None:
        """Writes a message into the outbox; it exists if and when this transaction commits."""
        parameters = {
            "channel": channel,
            "type": type,
            "payload": msgspec.json.encode(payload).decode(),
            "group_key": group_key,
            "priority": priority,
            "headers": self.message_headers,
        }
        with self.publishing((channel,)):
            await self._connection.execute(self.PUBLISH, parameters)

    def publishing(self, channels: Iterable[str]) -> AbstractContextManager[None]:
        """Around a statement that publishes to these channels, a message each: its span."""
        return NO_SPAN if self._spans is None else self._spans.publish(channels)
