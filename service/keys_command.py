"""`outbox-service keys …`: the API keys, from the command line."""

import argparse
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import psycopg

from service.database.blocking import connect, transaction
from service.platform import keys
from service.process.utf8 import utf8
from service.settings import Settings
from service.web.access.keys import SCOPES

MAX_LIFE_DAYS = 36_500


def add_to(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `keys` and its verbs to what the command line takes."""
    verbs = nouns.add_parser("keys", help="make, list and revoke API keys").add_subparsers(
        dest="verb", required=True
    )
    create = verbs.add_parser("create", help="make a key; it is printed once and never again")
    create.add_argument("--name", required=True, type=_text, help="whose key it is")
    create.add_argument(
        "--scope",
        required=True,
        action="append",
        choices=SCOPES,
        help="what it may do; more than one may be given: publish messages; manage subscriptions "
        "of kind http; operate those of kind kafka; read; payloads, which with read shows what "
        "dead letters hold and endpoints answered",
    )
    create.add_argument(
        "--channel",
        action="append",
        type=_text,
        help="what it is limited to, a channel or the beginning of some, as 'checkout.*'; more "
        "than one may be given (default: no limit)",
    )
    create.add_argument(
        "--expires",
        type=_expiry,
        metavar="90d|DATE",
        help="when it ends: in so many days, or at the beginning of a day in UTC, as 2030-12-31 "
        "(default: never)",
    )
    verbs.add_parser("list", help="all keys, tab-separated, without the keys themselves")
    revoke = verbs.add_parser("revoke", help="end a key, from the next request on")
    revoke.add_argument("id", type=int, metavar="ID", help="as `keys list` shows it")


def _text(argument: str) -> str:
    """An argument, whose bytes must be UTF-8: the database stores nothing else."""
    try:
        return utf8(argument)
    except ValueError:
        raise argparse.ArgumentTypeError("it is not UTF-8") from None


def _expiry(argument: str) -> datetime | timedelta:
    if days := re.fullmatch("([0-9]{1,5})d", argument):
        if not 1 <= int(days[1]) <= MAX_LIFE_DAYS:
            raise argparse.ArgumentTypeError(f"it must be 1d to {MAX_LIFE_DAYS}d")
        return timedelta(days=int(days[1]))
    try:
        moment = datetime.fromisoformat(argument)
    except ValueError:
        wrong = "it must be days from now, as 90d, or a date, as 2030-12-31"
        raise argparse.ArgumentTypeError(wrong) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """One `keys` command; its exit code."""
    try:
        with connect(settings.database_url) as opened:
            try:
                return _run(arguments, opened)
            except psycopg.errors.InsufficientPrivilege:
                with transaction(opened, TIMEOUT_SECONDS):
                    print(f"outbox-service: {_who_may(opened)}", file=sys.stderr)
    except psycopg.errors.CheckViolation as error:
        rule = (error.diag.constraint_name or "").replace("_", " ")
        print(f"outbox-service: refused: {rule}", file=sys.stderr)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        print("outbox-service: no schema yet; run `outbox-relay migrate`", file=sys.stderr)
    except psycopg.OperationalError as error:
        print(f"outbox-service: the database can't be reached: {error}", file=sys.stderr)
    return 1


TIMEOUT_SECONDS = 10.0

# From the catalog's rows: to look a table up by its name takes rights as well.
OWNER: LiteralString = """
    select current_user::text, pg_get_userbyid(relowner)::text
    from pg_catalog.pg_class join pg_catalog.pg_namespace on pg_namespace.oid = relnamespace
    where nspname = 'outbox' and relname = 'api_key'
"""


def _who_may(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute(OWNER).fetchone()
    login, owner = row or ("this login", "its owner")
    return (
        f"{login} may not do that to outbox.api_key: set DATABASE_URL, for this command alone, to "
        f"a login that is {owner} or a member of it (the login that ran `outbox-relay migrate`)"
    )


def _run(arguments: argparse.Namespace, connection: psycopg.Connection[Any]) -> int:
    if arguments.verb == "create":
        scopes = sorted(set(arguments.scope))
        with transaction(connection, TIMEOUT_SECONDS):
            key = keys.create(
                connection, arguments.name, scopes, arguments.channel, arguments.expires
            )
        print(key)
        print("Keep it: it is stored as a hash and never shown again.", file=sys.stderr)
        return 0
    if arguments.verb == "revoke":
        with transaction(connection, TIMEOUT_SECONDS):
            revoked = keys.revoke(connection, arguments.id)
        if revoked:
            return 0
        print(f"outbox-service: there is no key {arguments.id}", file=sys.stderr)
        return 1
    with transaction(connection, TIMEOUT_SECONDS):
        found = keys.listed(connection)
    for cells in (HEADINGS, *map(_cells, found)):
        print(*cells, sep="\t")
    return 0


HEADINGS = ("id", "name", "scopes", "channels", "created", "expires", "last used", "state")


def _cells(key: keys.Key) -> tuple[object, ...]:
    state = "expired" if key.expired else "active"
    return (
        key.id,
        key.name,
        ",".join(key.scopes),
        "all" if key.channels is None else ",".join(key.channels),
        _time(key.created_at),
        _time(key.expires_at),
        _time(key.last_used_at),
        state if key.revoked_at is None else f"revoked {_time(key.revoked_at)}",
    )


def _time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}Z"
