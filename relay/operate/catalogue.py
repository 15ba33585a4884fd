"""The event catalogue as code: what a directory would change, changing it, and writing it down."""

import datetime
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw
from psycopg import errors
from psycopg.rows import class_row

from catalogue import registration
from catalogue.closing import close
from catalogue.compatibility import Compatibility
from catalogue.registration import Expected, Incompatible, Prepared, Version
from catalogue.rules import Untranslatable
from catalogue.schema import SchemaFault
from catalogue.validation import Validator
from relay.database import Connection, transaction
from relay.operate.event_type_files import CatalogueError, Definition, Deprecation

# How often a lost race is run again; and for how long it is tried to put the check on the log.
MOST_RACES = 5
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 6.0
# A command that freezes in the middle holds nobody up for long.
TIMEOUT = """
    select set_config('lock_timeout', '8s', true), set_config('statement_timeout', '60s', true),
           set_config('idle_in_transaction_session_timeout', '8s', true)
"""


class Outcome(msgspec.Struct, frozen=True):
    """What comes of one type; `changed` is what makes no version.

    `not_in_sql` says why SQL can't keep its schema; None: it does.
    """

    type: str
    version: int
    change: Literal["new", "new version", "changed", "same"]
    not_in_sql: str | None = None


class Planned(msgspec.Struct, frozen=True):
    """A definition with what its schema comes to, and the version that it follows, or is."""

    definition: Definition
    prepared: Prepared
    expected: Expected
    outcome: Outcome


def check(connection: Connection, definitions: Mapping[str, Definition]) -> list[Outcome]:
    """What `apply` would do, and nothing is done. Raises CatalogueError with every fault."""
    plan = _plan(connection, definitions, _prepared(definitions))
    return [one.outcome for one in plan]


def apply(
    connection: Connection,
    definitions: Mapping[str, Definition],
    patience_seconds: float = PATIENCE_SECONDS,
) -> list[Outcome]:
    """Registers them, all or none; types without a file are left as they are.

    Raises CatalogueError with every fault, and where the log is held for so long that the check
    of the first enforced type can't be put on it.
    """
    prepared = _prepared(definitions)
    give_up_at = time.monotonic() + patience_seconds
    races = 0
    while True:
        try:
            plan = _plan(connection, definitions, prepared)
            if any(one.definition.enforcement != "off" for one in plan):
                _require_check(connection)
            with transaction(connection):
                connection.execute(TIMEOUT)
                _put(connection, plan)
            return [one.outcome for one in plan]
        except (errors.SerializationFailure, errors.DeadlockDetected):
            races += 1
            if races == MOST_RACES:
                raise
        except errors.LockNotAvailable as held:
            if held.diag.table_name != "message":
                raise
            if time.monotonic() + RETRY_SECONDS > give_up_at:
                raise CatalogueError([_told(held)]) from None
            time.sleep(RETRY_SECONDS)


# In one go, so that the server ends it by itself: publishers wait for no more than that, whatever
# becomes of this process, and for none of what comes afterwards.
REQUIRE_CHECK = """
    begin isolation level read committed read write;
    set local statement_timeout = '10s';
    select outbox.require_event_check();
    commit
"""


def _require_check(connection: Connection) -> None:
    """Puts the check of enforced types on the log; where it is there, it does nothing.

    Where it is dropped again meanwhile, the first put does the same once more.
    """
    try:
        connection.execute(REQUIRE_CHECK, prepare=False)
    finally:
        if not connection.closed:
            connection.rollback()


def _told(fault: errors.Error) -> str:
    diag = fault.diag
    said = (diag.message_primary, diag.message_detail, diag.message_hint)
    return ". ".join(text.rstrip(".") for text in said if text)


def _prepared(definitions: Mapping[str, Definition]) -> dict[str, Prepared]:
    """By file. Raises CatalogueError."""
    found: dict[str, Prepared] = {}
    faults = []
    for path, definition in definitions.items():
        try:
            found[path] = registration.prepare(bytes(definition.schema), definition.enforcement)
        except (SchemaFault, Untranslatable) as wrong:
            faults.append(f"{path}: schema: {wrong}")
    if faults:
        raise CatalogueError(faults)
    return found


class Standing(msgspec.Struct, frozen=True):
    """A type as it stands."""

    channels: list[str]
    description: str
    owner: str
    enforcement: str
    compatibility: str
    example: str | None
    deprecated_on: datetime.date | None
    successor: str | None
    of_key: str | None


STANDS = """
    select channels, description, owner, enforcement, compatibility, example, deprecated_on,
           successor, of_key
    from outbox.event_type where type = %s
"""
LINE = """
    select event_type_id, version, written as schema, is_same
    from outbox.event_type_line(%(type)s, %(schema)s)
"""
EXAMPLE_FAULT = """
    select format('example: at "%%s" (%%s): %%s', pointer, keyword, detail)
    from outbox.payload_faults(convert_to(%(example)s, 'UTF8'), %(singles)s::jsonb,
                               %(checks)s::jsonb, 1)
"""


class Known(msgspec.Struct, frozen=True):
    """What the database has of a type, and says of what is to come of it."""

    line: list[Version]
    example_fault: str | None
    stands: Standing | None


def _plan(
    connection: Connection, definitions: Mapping[str, Definition], prepared: Mapping[str, Prepared]
) -> list[Planned]:
    """Raises CatalogueError. What is compared, which may take long, is in no transaction."""
    with transaction(connection):
        connection.execute(TIMEOUT)
        known = {
            path: _known(connection, definition, prepared[path])
            for path, definition in definitions.items()
        }
    planned: list[Planned] = []
    faults: list[str] = []
    for path, definition in definitions.items():
        try:
            planned.append(_planned(definition, prepared[path], known[path]))
        except Incompatible as refusal:
            faults += [
                f'{path}: schema: at "{one.pointer}": {one.rule} since version {one.version}: '
                f"{one.detail}"
                for one in refusal.breaks
            ]
            faults.append(f"{path}: schema: {registration.advice(definition.type)}")
        except ValueError as wrong:
            faults.append(f"{path}: {wrong}")
    if faults:
        raise CatalogueError(faults)
    return planned


def _known(connection: Connection, definition: Definition, prepared: Prepared) -> Known:
    of_schema = {"type": definition.type, "schema": prepared.written}
    with connection.cursor(row_factory=class_row(Version)) as versions:
        line = versions.execute(LINE, of_schema).fetchall()
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        stands = cursor.execute(STANDS, (definition.type,)).fetchone()
    return Known(line, _example_fault(connection, definition.example_text, prepared), stands)


def _example_fault(connection: Connection, example: str | None, prepared: Prepared) -> str | None:
    """What of it does not fit, told by SQL where that keeps the schema."""
    if example is None:
        return None
    if prepared.not_in_sql is not None:
        for pointer, keyword, detail in Validator(close(prepared.parsed)).faults(
            example.encode(), limit=1
        ):
            return f'example: at "{pointer}" ({keyword}): {detail}'
        return None
    of_example = {"example": example, "singles": prepared.singles, "checks": prepared.checks}
    fault = connection.execute(EXAMPLE_FAULT, of_example).fetchone()
    return None if fault is None else str(fault[0])


def _planned(definition: Definition, prepared: Prepared, known: Known) -> Planned:
    """Raises Incompatible, and ValueError for an example that does not fit."""
    expected = registration.expected(prepared, known.line, definition.compatibility)
    if known.example_fault is not None:
        raise ValueError(known.example_fault)
    is_same = bool(known.line) and known.line[-1].is_same
    outcome = Outcome(
        definition.type,
        expected.version if is_same else expected.version + 1,
        _change(definition, known.stands, is_same=is_same),
        prepared.not_in_sql,
    )
    return Planned(definition, prepared, expected, outcome)


def _change(
    definition: Definition, stands: Standing | None, *, is_same: bool
) -> Literal["new", "new version", "changed", "same"]:
    if stands is None:
        return "new"
    if not is_same:
        return "new version"
    wanted = Standing(
        definition.channels,
        definition.description,
        definition.owner,
        definition.enforcement,
        definition.compatibility,
        definition.example_text,
        *_deprecated(definition),
        of_key=None,
    )
    return "same" if _plain(wanted) == _plain(stands) else "changed"


def _deprecated(definition: Definition) -> tuple[datetime.date | None, str | None]:
    """From which day on, and the successor."""
    deprecation = definition.deprecation
    return (None, None) if deprecation is None else (deprecation.date, deprecation.successor)


def _plain(one: Standing) -> Standing:
    """Blanks in an example are no difference."""
    if one.example is None:
        return one
    return msgspec.structs.replace(one, example=msgspec.json.format(one.example, indent=-1))


PUT = """
    select outbox.put_event_type(
        %(type)s, %(channels)s::text[], %(description)s, %(owner)s, %(enforcement)s,
        %(compatibility)s, %(example)s, %(expected)s, %(expected_id)s, %(schema)s, %(closed)s,
        %(decides)s::jsonpath, %(checks)s::jsonb, %(singles)s::jsonb, %(not_in_sql)s,
        session_user::text, null, %(deprecated_on)s::date, %(successor)s)
"""


def _put(connection: Connection, plan: Sequence[Planned]) -> None:
    for one in plan:
        definition, prepared = one.definition, one.prepared
        deprecated_on, successor = _deprecated(definition)
        values: dict[str, Any] = {
            "type": definition.type,
            "channels": definition.channels,
            "description": definition.description,
            "owner": definition.owner,
            "enforcement": definition.enforcement,
            "compatibility": definition.compatibility,
            "example": definition.example_text,
            "expected": one.expected.version,
            "expected_id": one.expected.event_type_id,
            "schema": prepared.written,
            "closed": prepared.closed,
            "decides": prepared.decides,
            "checks": prepared.checks,
            "singles": prepared.singles,
            "not_in_sql": prepared.not_in_sql,
            "deprecated_on": deprecated_on,
            "successor": successor,
        }
        connection.execute(PUT, values)


class Row(msgspec.Struct, frozen=True):
    """A type with its schema in force."""

    type: str
    channels: list[str]
    description: str
    owner: str
    enforcement: Literal["off", "report", "refuse"]
    compatibility: Compatibility
    schema: str
    example: str | None
    deprecated_on: datetime.date | None
    successor: str | None


ALL = """
    select type, channels, description, owner, enforcement, t.compatibility, schema, example,
           deprecated_on, successor
    from outbox.event_type as t
    join outbox.event_type_version as v on v.event_type_id = t.id and v.version = t.version
    order by type
"""


def export(connection: Connection) -> list[Definition]:
    """Every type as `apply` would take it. Raises psycopg.Error."""
    with transaction(connection), connection.cursor(row_factory=class_row(Row)) as cursor:
        cursor.execute(TIMEOUT)
        rows = cursor.execute(ALL).fetchall()
    return [
        Definition(
            type=row.type,
            description=row.description,
            owner=row.owner,
            channels=row.channels,
            enforcement=row.enforcement,
            compatibility=row.compatibility,
            deprecation=None
            if row.deprecated_on is None
            else Deprecation(date=row.deprecated_on, successor=row.successor),
            schema=Raw(row.schema.encode()),
            example=UNSET if row.example is None else Raw(row.example.encode()),
        )
        for row in rows
    ]
