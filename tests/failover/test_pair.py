"""The switchover that the others are tried with loses nothing by itself."""

import psycopg
import pytest

from tests.pair import Pair

pytestmark = pytest.mark.long

NOTE = "insert into note values (%s)"
NOTES = "select line from note order by line"


@pytest.mark.timeout(120)
def test_what_commits_on_either_primary_is_on_the_next_one(pair: Pair) -> None:
    with psycopg.connect(pair.primary.dsn(), autocommit=True) as session:
        session.execute("create table note (line text)")
    for line in ("first there", "second there", "first again"):
        with (
            psycopg.connect(pair.primary.dsn(), autocommit=True) as quick,
            psycopg.connect(pair.primary.dsn()) as open_before,
        ):
            # It may write, and has no xid yet.
            open_before.execute(NOTES)
            quick.execute(NOTE, [line])
            pair.fence()
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                quick.execute(NOTE, ["behind the fence"])
            pair.end_transactions()
            with pytest.raises(psycopg.OperationalError):
                open_before.execute(NOTE, ["behind the fence"])
            pair.switch()
            pair.promote()
        pair.rejoin()
    with psycopg.connect(pair.url("postgres")) as session:
        lines = [line for (line,) in session.execute(NOTES)]
    assert lines == ["first again", "first there", "second there"]
