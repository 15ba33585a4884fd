"""The shop that adopts the outbox: a database, who owns its tables, and its service's login."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.adopt.page import files
from tests.conftest import PostgresServer
from tests.documents import DOCS, ROOT, blocks

INBOX = ROOT / "sql" / "inbox.sql"
INBOX_PAGE = DOCS / "adopt" / "inbox.md"
ROLES = ROOT / "sql" / "roles.sql"

# As docs/adopt.md has it.
[RIGHTS] = [one for one in blocks(DOCS / "adopt.md", "sql") if "create role shop" in one]


@dataclass(frozen=True)
class Shop:
    """`url` is the service's login, `owner_url` that of who migrates; `superuser` sees all."""

    name: str
    url: str
    owner_url: str
    superuser: str

    def environment(self) -> dict[str, str]:
        """What the pages read."""
        return {"DATABASE_URL": self.url, "OWNER_URL": self.owner_url}

    def jdbc_url(self) -> str:
        """As the driver for Java has it."""
        login, _, place = self.url.removeprefix("postgresql://").partition("@")
        return f"jdbc:postgresql://{place}?user={login}"

    def make_tables(self, page: str) -> None:
        """By the page's `schema.sql`."""
        with psycopg.connect(self.owner_url) as owner:
            owner.execute(files(page)["schema.sql"].encode())

    def make_inbox(self) -> None:
        """As who owns the database does, with the rights that docs/adopt/inbox.md gives."""
        [rights] = [one for one in blocks(INBOX_PAGE, "sql") if "inbox.received" in one]
        with psycopg.connect(self.superuser) as superuser:
            superuser.execute(INBOX.read_bytes())
            superuser.execute(re.sub(r"\bshop\b", self.name, rights).encode())

    def published(self) -> list[tuple[str, str, str | None, Any]]:
        """What was committed: channel, type, group key and payload of each message."""
        query = """
            select channel, type, group_key, convert_from(payload, 'UTF8')::json
            from outbox.message order by id
        """
        with psycopg.connect(self.superuser) as superuser:
            return superuser.execute(query).fetchall()


@contextmanager
def shop(server: PostgresServer) -> Iterator[Shop]:
    """A shop with the rights that docs/adopt.md gives it, and roles of its own names."""
    mark = uuid.uuid4().hex[:12]
    name, owner = f"shop_{mark}", f"shop_owner_{mark}"
    with server.clone() as url, psycopg.connect(url, autocommit=True) as superuser:
        superuser.execute(ROLES.read_bytes())  # a clone has no rights of its own to connect
        rights = RIGHTS.replace("database shop ", f"database {superuser.info.dbname} ")
        rights = re.sub(r"\bshop_owner\b", owner, rights)
        superuser.execute(re.sub(r"\bshop\b", name, rights).encode())
        try:
            login, owner_login = (as_url(make_conninfo(url, user=user)) for user in (name, owner))
            yield Shop(name, login, owner_login, superuser=url)
        finally:
            for role in (name, owner):
                superuser.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
            for role in (name, owner):
                superuser.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


def as_url(conninfo: str) -> str:
    """What every driver reads, of what psycopg reads."""
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    return "postgresql://{user}@{host}:{port}/{dbname}".format(**parts)
