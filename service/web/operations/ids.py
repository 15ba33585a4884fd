"""Ids as they are written in paths and bodies."""

import re
from typing import Any, NamedTuple
from uuid import UUID


class IdForm(NamedTuple):
    """How the ids in a path are written; one that is written otherwise belongs to nothing."""

    plural: str
    pattern: re.Pattern[str]
    schema: dict[str, Any]


# At most 18 digits, so that each fits into Postgres' bigint.
WHOLE_NUMBERS = IdForm(
    "whole numbers",
    re.compile("[0-9]{1,18}"),
    {"type": "string", "pattern": "^[0-9]{1,18}$"},
)
EVENT_TYPES = IdForm(
    "1 to 200 letters, digits, dots, dashes and underscores",
    re.compile(r"(?!outbox\.)[A-Za-z0-9][A-Za-z0-9._-]{0,199}"),
    {"type": "string", "pattern": r"^(?!outbox\.)[A-Za-z0-9][A-Za-z0-9._\-]{0,199}$"},
)
UUIDS = IdForm(
    "UUIDs",
    re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE),
    {"type": "string", "format": "uuid"},
)


def uuid_or_none(written: str) -> UUID | None:
    """The UUID that is written here in its usual form; None for everything else."""
    return UUID(written) if UUIDS.pattern.fullmatch(written) else None
