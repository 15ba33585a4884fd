"""How many connectors there may be, in all and of those whom an API key made."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.sql.log import Session, one

MAKE = "select outbox.connect(%s, 'orders', 'kafka', %s, made_by => %s)"


def make(db: Session, name: str, brokers: str, made_by: str | None = None) -> None:
    db.execute(MAKE, [name, Jsonb({"brokers": brokers}), made_by])


def refusal(db: Session, name: str, made_by: str | None = None) -> str:
    """Why there is no room for one more."""
    with pytest.raises(errors.CheckViolation) as refused:
        make(db, name, "c.example.com:9092", made_by)
    diag = refused.value.diag
    assert (diag.table_name, diag.column_name) == ("subscription", "brokers")
    return diag.message_primary or ""


def test_a_connector_beyond_the_quota_is_refused_with_the_number_the_bound_and_the_mend(
    db: Session,
) -> None:
    """Also one to a cluster that others lead to."""
    db.execute("update outbox.quota set connectors = 2")
    make(db, "a", "a.example.com:9092")
    make(db, "b", "c.example.com:9092")
    assert refusal(db, "c") == (
        "brokers names another cluster, and of at most 2 connectors that do there are 2 already: "
        "delete one that is not needed, or raise outbox.quota.connectors as the owner"
    )
    db.execute("select outbox.delete_subscription('b')")
    make(db, "d", "d.example.com:9092")


def test_a_subscription_that_is_moved_to_another_cluster_counts(db: Session) -> None:
    db.execute("update outbox.quota set connectors = 1")
    make(db, "a", "a.example.com:9092")
    change = "update outbox.subscription set settings = settings || %s where name = %s"
    # Whichever other cluster a connector leads to.
    db.execute(change, [Jsonb({"brokers": "b.example.com:9092"}), "a"])
    with pytest.raises(errors.CheckViolation, match="of at most 1 connectors that do there are 1"):
        db.execute(change, [Jsonb({"brokers": "c.example.com:9092"}), "kafka"])


def test_limited_keys_of_one_name_have_a_share_of_the_connectors_and_leave_as_much(
    db: Session,
) -> None:
    db.execute("update outbox.quota set connectors = 10, connectors_of_a_key = 2")
    for n in range(2):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    assert "API keys named shop make, there are 2 already" in refusal(db, "a2", "shop")
    for n in range(6):
        make(db, f"b{n}", "b.example.com:9092")
    assert refusal(db, "c0", "market").endswith("no room for it: ask who gave you the API key")
    for n in range(6, 8):
        make(db, f"b{n}", "b.example.com:9092")
    assert "of at most 10 connectors that do there are 10" in refusal(db, "b8")


def test_by_default_there_are_at_most_20_connectors_and_5_of_a_key(db: Session) -> None:
    for n in range(5):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    assert "at most 5" in refusal(db, "a5", "shop")
    for n in range(15):
        make(db, f"b{n}", "b.example.com:9092")
    assert "at most 20" in refusal(db, "b15")


BEYOND = """
    select array_agg(name order by name)
    from outbox.connector_beyond_quota join outbox.subscription using (id)
"""


def test_where_the_quota_is_lowered_the_latest_are_beyond_it(db: Session) -> None:
    """What of a key's is beyond its share takes no place from others."""
    for n in range(4):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    for n in range(3):
        make(db, f"b{n}", "b.example.com:9092")
    assert one(db, BEYOND) is None
    db.execute("update outbox.quota set connectors_of_a_key = 1")
    assert one(db, BEYOND) == ["a1", "a2", "a3"]
    db.execute("update outbox.quota set connectors = 3")
    assert one(db, BEYOND) == ["a1", "a2", "a3", "b2"]
