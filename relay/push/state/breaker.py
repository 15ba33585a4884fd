"""The circuit breaker of a subscription: its state is the database's, and all relays obey it.

What the database tells of it is logged; it tells each change the first few times in a while.
"""

import secrets

import structlog

from relay.database import Connection
from relay.push.item import Item
from relay.push.policy.verdict import GONE, Failures
from relay.push.target import Target

logger = structlog.get_logger()

JUDGE = "select opened, told from outbox.judge_breaker(%s, %s, %s, %s, %s, %s, %s, %s)"


def judge_run(
    connection: Connection, target: Target, failures: Failures, *, acked: int = 0
) -> bool:
    """Judges the outcomes of a run; whether they opened it, which the run's transaction writes."""
    limits = target.endpoint.breaker
    row = connection.execute(
        JUDGE,
        (
            target.subscription_id,
            acked,
            failures.failed,
            failures.refused,
            limits.window_seconds,
            limits.minimum,
            limits.threshold,
            limits.cool_down_seconds,
        ),
    ).fetchone()
    opened, told = row or (False, False)
    if told:
        logger.warning("breaker_opened", subscription=target.subscription)
    return bool(opened)


HOLD = "select outbox.hold_half_open(%s, %s, %s)"


def take_probe_token(
    connection: Connection, subscription_id: int, cool_down_seconds: float, timeout_seconds: float
) -> int | None:
    """The token of the one message that may go now; None where another relay sends it.

    Held until the transaction ends. If that relay never tells what came of it, the next may go when
    its request is over for sure.
    """
    token = secrets.randbits(63)
    lease_seconds = timeout_seconds + cool_down_seconds
    row = connection.execute(HOLD, (subscription_id, token, lease_seconds)).fetchone()
    return token if row and row[0] else None


JUDGE_HALF_OPEN = "select outbox.judge_half_open(%s, %s, %s, %s, %s, %s)"


def judge_probe(connection: Connection, target: Target, item: Item | None) -> None:
    """Closes it, or leaves it open until the next probe; None: nothing was sent."""
    acked, refused, asked_seconds = None, False, 0.0
    if item is not None and item.verdict is not None:
        acked, refused = item.verdict.kind == "acked", item.refused
        # Not the message's own wait, which may be hours: others are probed meanwhile.
        asked_seconds = item.verdict.asked_seconds
    row = connection.execute(
        JUDGE_HALF_OPEN,
        (
            target.subscription_id,
            target.probe_token,
            acked,
            refused,
            target.endpoint.breaker.cool_down_seconds,
            asked_seconds,
        ),
    ).fetchone()
    if row and row[0]:
        logger.info("breaker_closed", subscription=target.subscription)


DISABLE = "select outbox.disable(%s, %s)"


def disable(connection: Connection, target: Target, detail: str) -> None:
    """The endpoint said that it is gone: the subscription is paused, and keeps everything."""
    reason = f"410 Gone: {detail}"[:500]
    row = connection.execute(DISABLE, (target.subscription_id, reason)).fetchone()
    if row and row[0]:
        logger.warning("subscription_disabled", subscription=target.subscription, reason="410 Gone")


def is_gone(item: Item) -> bool:
    """Whether the endpoint said so."""
    return item.answer is not None and item.answer.status == GONE


def judge_late(connection: Connection, target: Target, item: Item) -> None:
    """What an outcome that came after its run means for its subscription."""
    assert item.verdict is not None
    assert item.answer is not None
    if target.probing:
        judge_probe(connection, target, item)
    if is_gone(item):
        disable(connection, target, item.answer.detail)
