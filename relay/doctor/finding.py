"""One thing that the doctor found."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec
import psycopg
from psycopg import errors

from relay.database import Connection


class Finding(msgspec.Struct, frozen=True):
    """`fault`: the relay can't do its work. `warning`: it can, but an operator should look.

    `hint` is what to do about it, empty where all is well.
    """

    level: Literal["ok", "warning", "fault"]
    what: str
    text: str
    hint: str = ""


def in_time(connection: Connection, what: str, look: Iterable[Finding]) -> Iterator[Finding]:
    """What `look` finds; where that takes too long, that it does, and the next look can begin.

    Raises psycopg.Error otherwise.
    """
    try:
        # A savepoint, so that no more is given up.
        with connection.transaction():
            found = list(look)
    except (errors.QueryCanceled, errors.LockNotAvailable) as fault:
        found = [too_long(what, fault)]
    yield from found


def too_long(what: str, fault: psycopg.Error) -> Finding:
    """Nothing is known of it."""
    text = f"looking at {what} took too long: {str(fault).splitlines()[0]}"
    hint = (
        "end what holds the database up: a transaction that is open and wrote very many rows is "
        "among the first in outbox.horizon (psql -q -f sql/inspect/horizon.sql)"
    )
    return Finding("warning", what, text, hint)


def ok(what: str, text: str) -> Finding:
    """All is well."""
    return Finding("ok", what, text)
