"""Messages of a trace, sampled or not."""

from tests.span_receiver import Context
from tests.sql.log import Session, one

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def context(number: int) -> Context:
    return Context(TRACE, f"{number:016x}")


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{TRACE}-{number:016x}-{flags}"


PUBLISH = """
select outbox.publish('orders', 'order.paid', '{"card": "payload-s3cret"}', group_key => %s,
                      idempotency_key => %s, headers => %s)
"""


def publish(db: Session, number: int, headers: str | None) -> int:
    """Of a group of its own, with a key that names its number; the message's id."""
    return int(one(db, PUBLISH, f"g{number}", f"key-{number}", headers))


def sampled(number: int) -> str:
    return f'{{"x-token": "header-s3cret", "traceparent": "{traceparent(number)}"}}'
