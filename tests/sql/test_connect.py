"""Who may connect: the members of the roles and who has something in the database, no others."""

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.sql.log import SQL_DIRECTORY, Session, one

GROUPS = ["outbox_publisher", "outbox_service", "outbox_relay", "outbox_reader"]
Login = Callable[..., str]
Enter = Callable[[str], Session]


@pytest.fixture
def login(db: Session) -> Iterator[Login]:
    """Makes a login role, a member of `groups`; its name."""
    made: list[sql.Identifier] = []

    def make(*groups: str) -> str:
        name = f"test_{uuid.uuid4().hex}"
        made.append(sql.Identifier(name))
        db.execute(sql.SQL("create role {} login").format(made[-1]))
        for group in groups:
            db.execute(sql.SQL("grant {} to {}").format(sql.Identifier(group), made[-1]))
        return name

    yield make
    for role in made:
        db.execute(sql.SQL("drop owned by {}").format(role))
        db.execute(sql.SQL("drop role {}").format(role))


@pytest.fixture
def enter(any_database_url: str) -> Iterator[Enter]:
    """Connects as a login."""
    opened: list[Session] = []

    def connect(name: str) -> Session:
        session: Session = psycopg.connect(make_conninfo(any_database_url, user=name))
        session.autocommit = True
        opened.append(session)
        return session

    yield connect
    for session in opened:
        session.close()


def apply_roles(session: Session) -> list[str]:
    """Runs roles.sql; what it told."""
    told: list[str] = []
    session.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    session.execute((SQL_DIRECTORY / "roles.sql").read_bytes())
    return told


def is_refused(enter: Enter, name: str) -> bool:
    try:
        enter(name)
    except psycopg.OperationalError as refused:
        return "permission denied for database" in str(refused)
    return False


def test_a_login_without_rights_may_connect_no_more(
    db: Session, login: Login, enter: Enter
) -> None:
    other = login()
    enter(other)
    told = apply_roles(db)
    assert is_refused(enter, other)
    [last] = [line for line in told if "PUBLIC" in line]
    assert f"grant connect on database {db.info.dbname} to" in last
    db.execute(
        sql.SQL("grant connect on database {} to {}").format(
            sql.Identifier(db.info.dbname), sql.Identifier(other)
        )
    )
    assert not is_refused(enter, other)


@pytest.mark.parametrize("group", GROUPS)
def test_a_member_of_a_role_may_connect(
    db: Session, login: Login, enter: Enter, group: str
) -> None:
    member = login(group)
    apply_roles(db)
    assert not is_refused(enter, member)


@pytest.mark.parametrize(
    "stake",
    [
        "create table basket (id int); alter table basket owner to {}",
        "create table basket (id int); grant select (id) on basket to {}",
        "create schema basket authorization {}",
        "alter default privileges grant select on tables to {}",
    ],
)
def test_who_has_something_in_the_database_may_go_on(
    db: Session, login: Login, enter: Enter, stake: str
) -> None:
    """An application that was there before."""
    application = login()
    for statement in stake.split(";"):
        db.execute(statement.format(application).encode())
    told = apply_roles(db)
    assert not is_refused(enter, application)
    assert any(application in line for line in told)


@pytest.mark.parametrize(
    "made",
    [
        "create temporary table mine (id int)",
        "create temporary sequence mine",
        "create function pg_temp.mine() returns int language sql return 1",
        "create type pg_temp.mine as enum ('a')",
        'create type pg_temp."My own" as (a int)',
        "create domain pg_temp.mine as int",
        "create text search dictionary pg_temp.mine (template = pg_catalog.simple)",
        "select lo_create(0)",
        "alter default privileges grant select on tables to public",
        "alter default privileges grant execute on functions to {accomplice}",
        "create temporary table mine (id int); grant select on mine to {accomplice}",
    ],
)
def test_what_every_login_may_make_is_no_way_in(
    db: Session, login: Login, enter: Enter, made: str
) -> None:
    other, accomplice = login(), login()
    session = enter(other)
    for statement in made.format(accomplice=accomplice).split(";"):
        session.execute(statement.encode())
    apply_roles(db)
    assert (is_refused(enter, other), is_refused(enter, accomplice)) == (True, True)


@pytest.mark.parametrize(
    "made", ["create table public.basket (id int)", "create type public.basket as enum ('a')"]
)
def test_who_has_something_where_every_login_may_create_is_told_of(
    db: Session, login: Login, enter: Enter, made: str
) -> None:
    """As the schema public is up to PostgreSQL 14: an application's login owns its tables there."""
    db.execute("grant create on schema public to public")
    other = login()
    enter(other).execute(made.encode())
    told = apply_roles(db)
    assert not is_refused(enter, other)
    assert any(
        line.endswith(f"revoke connect on database {db.info.dbname} from {other}") for line in told
    )


def test_a_second_time_grants_no_role_what_was_taken_since(
    db: Session, login: Login, enter: Enter
) -> None:
    reader = login("outbox_reader")
    apply_roles(db)
    database = sql.Identifier(db.info.dbname)
    db.execute(sql.SQL("revoke connect on database {} from outbox_reader").format(database))
    assert apply_roles(db) == []
    assert is_refused(enter, reader)


def test_who_does_not_own_the_database_is_told_and_changes_nothing(
    db: Session, login: Login, enter: Enter
) -> None:
    """A migration's role that makes the group roles and does not own the database."""
    other, owner = login(), login()
    role = sql.Identifier(owner)
    db.execute(sql.SQL("alter role {} createrole").format(role))
    acl = "select datacl::text from pg_database where datname = current_database()"
    before = one(db, acl)
    connection_part = (SQL_DIRECTORY / "roles.sql").read_text()
    start = connection_part.index("-- Who may connect")
    end = connection_part.index("-- The payment example")
    session = enter(owner)
    told: list[str] = []
    session.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    session.execute(connection_part[start:end].encode())
    assert [line for line in told if "let its owner run" in line]
    assert one(db, acl) == before
    assert not is_refused(enter, other)


def test_temporary_tables_stay_everybodys(db: Session, login: Login, enter: Enter) -> None:
    """The application's own business."""
    publisher = login("outbox_publisher")
    apply_roles(db)
    enter(publisher).execute("create temporary table mine (id int)")
