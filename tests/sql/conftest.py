"""Sessions on a database of the test's own, on each version of Postgres in turn."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.sql.log import Session, cursor_id

Open = Callable[[], Session]
Member = Callable[[str], Session]


@pytest.fixture
def open_session(any_database_url: str) -> Iterator[Open]:
    """Opens further sessions of the owner, in autocommit."""
    with ExitStack() as sessions:
        yield lambda: sessions.enter_context(psycopg.connect(any_database_url, autocommit=True))


@pytest.fixture
def db(open_session: Open) -> Session:
    """The owner's session, in autocommit."""
    return open_session()


@pytest.fixture
def member(db: Session, any_database_url: str) -> Iterator[Member]:
    """Opens a session of a new login role that is a member of the given group role."""
    roles: list[sql.Identifier] = []
    with ExitStack() as sessions:

        def log_in(group: str) -> Session:
            role = f"test_{uuid.uuid4().hex}"
            roles.append(sql.Identifier(role))
            db.execute(
                sql.SQL("create role {} login in role {}").format(roles[-1], sql.Identifier(group))
            )
            dsn = make_conninfo(any_database_url, user=role)
            return sessions.enter_context(psycopg.connect(dsn, autocommit=True))

        yield log_in
    for role in roles:
        db.execute(sql.SQL("drop role {}").format(role))


BILLING = """
    insert into outbox.subscription (name, kind, channels, settings)
    values ('billing', 'http', '{orders}', '{"endpoint": "https://billing.example.com/"}')
"""


@pytest.fixture
def billing(db: Session) -> int:
    """The cursor of a new subscription `billing`, to an endpoint, of channel `orders`."""
    db.execute(BILLING)
    return cursor_id(db, name="billing")
