"""What a subscription or an API key may be called."""

from typing import LiteralString

import pytest
from psycopg import errors

from tests.sql.log import Session

SUBSCRIPTION: LiteralString = "insert into outbox.subscription (name) values (%s)"
KEY: LiteralString = """
    insert into outbox.api_key (name, hash, scopes) values (%s, sha256('k'), '{publish}')
"""


@pytest.mark.parametrize("name", ["-", "--json", ".", "..", ".hidden", "_", "1", "0042", "", "a b"])
def test_a_subscription_is_not_called_as_an_option_a_folder_or_an_id_is(
    db: Session, name: str
) -> None:
    with pytest.raises(errors.CheckViolation):
        db.execute(SUBSCRIPTION, [name])


@pytest.mark.parametrize("name", ["a", "A-1", "1a", "2026-03", "a..b", "9_", "1.0", "x" * 100])
def test_names_begin_with_a_letter_or_a_digit(db: Session, name: str) -> None:
    db.execute(SUBSCRIPTION, [name])


def test_two_subscriptions_differ_by_more_than_case(db: Session) -> None:
    db.execute(SUBSCRIPTION, ["Billing"])
    with pytest.raises(errors.UniqueViolation):
        db.execute(SUBSCRIPTION, ["billing"])
    db.execute("update outbox.subscription set name = 'billing' where name = 'Billing'")


@pytest.mark.parametrize("name", ["-", "--scope", ".", "..", "7"])
def test_a_key_is_not_called_as_an_option_a_folder_or_an_id_is(db: Session, name: str) -> None:
    with pytest.raises(errors.CheckViolation):
        db.execute(KEY, [name])


@pytest.mark.parametrize("name", ["Zoë's laptop", "élan", "7 of 9", "(shop)"])
def test_a_key_may_have_any_other_name(db: Session, name: str) -> None:
    db.execute(KEY, [name])
