"""`outbox-service keys …`: the API keys, from the command line."""

import argparse
import sys
from typing import Any

import psycopg

from service import keys
from service.database import transaction
from service.settings import Settings

DESCRIPTION = "Serves payment webhooks, orders and the event platform's HTTP API until SIGTERM."
EPILOG = """\
It is configured by the environment: DATABASE_URL, and optionally SERVICE_HOST (127.0.0.1),
SERVICE_PORT (8080), WEBHOOK_SECRET and more; a name that it does not know stops the start.
The API describes itself at /openapi.json.

  outbox-service keys create --name checkout --scope publish
  outbox-service keys create --name operator --scope manage --scope read
  outbox-service keys list
  outbox-service keys revoke 1
"""


def parser() -> argparse.ArgumentParser:
    """What `outbox-service` takes; without arguments it serves."""
    top = argparse.ArgumentParser(
        "outbox-service",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    nouns = top.add_subparsers(dest="noun", metavar="keys")
    verbs = nouns.add_parser("keys", help="make, list and revoke API keys").add_subparsers(
        dest="verb", required=True
    )
    create = verbs.add_parser("create", help="make a key; it is printed once and never again")
    create.add_argument("--name", required=True, type=_text, help="whose key it is")
    create.add_argument(
        "--scope",
        required=True,
        action="append",
        choices=keys.SCOPES,
        help="what it may do; more than one may be given",
    )
    verbs.add_parser("list", help="all keys, without the keys themselves")
    revoke = verbs.add_parser("revoke", help="end a key, from the next request on")
    revoke.add_argument("id", type=int, metavar="ID", help="as `keys list` shows it")
    return top


def _text(argument: str) -> str:
    """An argument whose bytes are UTF-8: the others come as surrogates, which nothing can store."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("it is not UTF-8") from None
    return argument


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """One `keys` command; its exit code."""
    try:
        with psycopg.connect(settings.database_url, autocommit=True, connect_timeout=5) as opened:
            return _run(arguments, opened)
    except psycopg.errors.CheckViolation as error:
        rule = (error.diag.constraint_name or "").replace("_", " ")
        print(f"outbox-service: refused: {rule}", file=sys.stderr)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        print("outbox-service: no schema yet; run `outbox-relay migrate`", file=sys.stderr)
    except psycopg.OperationalError as error:
        print(f"outbox-service: the database can't be reached: {error}", file=sys.stderr)
    return 1


TIMEOUT_SECONDS = 10.0


def _run(arguments: argparse.Namespace, connection: psycopg.Connection[Any]) -> int:
    if arguments.verb == "create":
        with transaction(connection, TIMEOUT_SECONDS):
            key = keys.create(connection, arguments.name, sorted(set(arguments.scope)))
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
        listed = keys.listed(connection)
    for one in listed:
        state = f"revoked {one.revoked_at:%Y-%m-%d %H:%M}" if one.revoked_at else "active"
        print(one.id, one.name, ",".join(one.scopes), f"{one.created_at:%Y-%m-%d}", state, sep="\t")
    return 0
