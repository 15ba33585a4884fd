"""An answer means that what was written is there, whatever the role or the database has set."""

from typing import Any

import psycopg
import pytest
from psycopg import sql
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.service.conftest import JSON
from tests.service.shop import Shop

WATCH = """
    create table committed (synchronous text);
    create function watch() returns trigger language plpgsql security definer as $$
    begin
        insert into public.committed values (current_setting('synchronous_commit'));
        return new;
    end $$;
    create trigger watch after insert on outbox.message for each row execute function watch();
"""


@pytest.mark.parametrize(("setting", "kept"), [("off", "local"), ("remote_write", "remote_write")])
def test_no_commit_is_answered_before_it_is_on_disk(
    database_url: str, database: psycopg.Connection[Any], setting: str, kept: str
) -> None:
    name = sql.Identifier(database.info.dbname)
    change = sql.SQL("alter database {} set synchronous_commit = {}")
    database.execute(change.format(name, sql.Literal(setting)))
    database.execute(WATCH)
    app = create_app(Settings(database_url=database_url, pool_size=1))
    with TestClient(app, headers=JSON) as client:
        Shop(client, database).order()
    assert set(database.execute("select synchronous from committed").fetchall()) == {(kept,)}
