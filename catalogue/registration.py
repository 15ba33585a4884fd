"""A schema on its way to be registered: what it comes to, and what it may not break.

The database keeps the outcome: see outbox.event_type_line and outbox.put_event_type.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from catalogue import schema
from catalogue.closing import close
from catalogue.compatibility import Break, Check, Compatibility
from catalogue.rules import Untranslatable, translate
from catalogue.schema import SchemaFault


class Version(msgspec.Struct, frozen=True):
    """One that the next has to be compatible with; `is_same`: it has the same schema."""

    event_type_id: int
    version: int
    schema: str
    is_same: bool


class Expected(NamedTuple):
    """The type and the version that the next one follows, or is; None and 0: the type is new."""

    event_type_id: int | None
    version: int


class Prepared(msgspec.Struct, frozen=True):
    """A schema, and what it comes to: parameters of outbox.put_event_type, JSON as text.

    The rules are None where SQL can't keep it, and `not_in_sql` says why.
    """

    written: str
    parsed: Any
    closed: str
    decides: str | None = None
    checks: str | None = None
    singles: str | None = None
    not_in_sql: str | None = None


class Incompatible(Exception):
    """The next version would break what the earlier ones promise."""

    def __init__(self, breaks: Sequence[Break]) -> None:
        super().__init__(f"{len(breaks)} breaks")
        self.breaks = tuple(breaks)


def advice(type_: str) -> str:
    """What to do where consumers have to be broken: order.created.v2 follows order.created."""
    name, _, number = type_.rpartition(".v")
    is_numbered = bool(name) and number.isdecimal()
    successor = f"{name}.v{int(number) + 1}" if is_numbered else f"{type_}.v2"
    return f"An incompatible change is a new type: {successor}"


REFUSALS = (SchemaFault, Untranslatable, Incompatible)


# What to do where SQL can't keep what is to be refused.
INSTEAD = (
    "SQL can't keep that, so it can't be refused. Write it otherwise, or enforce the type by "
    "`report`: then it is checked over HTTP alone"
)


def prepare(written: bytes, enforcement: Literal["off", "report", "refuse"]) -> Prepared:
    """Raises SchemaFault, and Untranslatable where SQL can't keep what is to be refused."""
    parsed = schema.parse(written)
    closed = close(parsed)
    try:
        rules = translate(closed)
    except Untranslatable as beyond:
        if enforcement == "refuse":
            reason = f"{beyond.reason}: {INSTEAD}"
            raise Untranslatable(beyond.pointer, beyond.keyword, reason) from None
        return Prepared(written.decode(), parsed, _text(closed), not_in_sql=str(beyond))
    return Prepared(
        written=written.decode(),
        parsed=parsed,
        closed=_text(closed),
        decides=rules.decides,
        checks=_text(rules.checks),
        singles=_text(rules.singles),
    )


_encode = msgspec.json.Encoder(decimal_format="number").encode


def _text(value: object) -> str:
    """As JSON, its numbers as they are."""
    return _encode(value).decode()


def expected(prepared: Prepared, line: Sequence[Version], compatibility: Compatibility) -> Expected:
    """What outbox.put_event_type is to find. Raises Incompatible."""
    if not line:
        return Expected(None, 0)
    if not line[-1].is_same:
        check = Check(prepared.parsed, compatibility)
        for one in reversed(line):
            if check.is_decided:
                break
            compare(check, one.version, one.schema)
        require_compatible(check)
    return Expected(line[-1].event_type_id, line[-1].version)


def compare(check: Check, version: int, written: str) -> None:
    """Compares it with a version that is registered; it takes some seconds at most."""
    check.against(version, schema.parse(written.encode()))


def require_compatible(check: Check) -> None:
    """Raises Incompatible where anything breaks."""
    if check.breaks:
        raise Incompatible(check.breaks)
