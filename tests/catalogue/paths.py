"""Every path to an answer: SQL, this process, and the reference."""

import json
from collections.abc import Sequence
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from catalogue.faults import Fault
from catalogue.rules import Rules, translate
from catalogue.schema import Schema, parse
from catalogue.validation import Validator
from tests.catalogue import reference
from tests.sql.log import Session

# Whether it fits, and its faults; None: they were not asked for.
Answer = tuple[bool, list[str] | None]

ANSWERS: LiteralString = """
    select outbox.payload_fits(payload, %(decides)s, %(checks)s),
           case when number %% 2 = 0 then
               array(select pointer || ' ' || keyword || ' ' || detail
                     from outbox.payload_faults(payload, %(singles)s, %(checks)s, 1000))
           end
    from unnest(%(payloads)s::bytea[]) with ordinality as one (payload, number)
    order by number
"""
FAULTS: LiteralString = """
    select pointer, keyword, detail
    from outbox.payload_faults(%(payload)s, %(singles)s, %(checks)s, %(at_most)s)
"""
FITS: LiteralString = "select outbox.payload_fits(%(payload)s, %(decides)s, %(checks)s)"


def schema(value: Any) -> Schema:
    """As it is registered."""
    return parse(json.dumps(value).encode())


def parameters(rules: Rules) -> dict[str, object]:
    return {
        "decides": rules.decides,
        "singles": Jsonb(rules.singles),
        "checks": Jsonb(rules.checks),
    }


def answers(db: Session, rules: Rules, payloads: Sequence[bytes]) -> list[Answer]:
    """Of SQL: whether each fits, and the faults of every other one."""
    given = {**parameters(rules), "payloads": list(payloads)}
    return db.execute(ANSWERS, given).fetchall()


def faults_in_sql(db: Session, rules: Rules, payload: bytes, at_most: int = 20) -> list[Fault]:
    given = {**parameters(rules), "payload": payload, "at_most": at_most}
    return [Fault(*row) for row in db.execute(FAULTS, given).fetchall()]


def fits(db: Session, asked: Schema, payload: bytes) -> bool:
    """The one answer of every path, and the same faults on both that tell any."""
    rules = translate(asked)
    row = db.execute(FITS, {**parameters(rules), "payload": payload}).fetchone()
    assert row is not None
    faults = Validator(asked).faults(payload)
    assert row[0] == (not faults), faults
    assert set(faults_in_sql(db, rules, payload)) == set(faults)
    if not any(fault.keyword == "json" for fault in faults):
        assert row[0] == reference.fits(asked, payload)
    return bool(row[0])
