"""Payment: has the provider charge an order and give the money back, each once.

A command only writes down what is wanted. The provider is asked outside of any transaction, with an
idempotency key of the order and the step: an answer that is lost is asked for again, and whatever
process asks, the customer pays once.
"""

from collections.abc import Callable
from typing import LiteralString
from uuid import UUID

import msgspec

from demo.consumers.inbox import Connection, bounded_transaction
from demo.saga.messages import Command, answer
from demo.saga.services.life import Service, live
from demo.saga.services.till import Till, Verdict

NAME = "payment"
AT_ONCE = 20

# Asks the provider: the verb, the idempotency key, and the command.
Ask = Callable[[str, str, Command], Verdict]


def take(connection: Connection, body: bytes) -> None:
    """Writes down what is wanted, or answers what is known already, in the open transaction."""
    command = _decoded(body)
    match command.name:
        case "charge":
            charge(connection, command)
        case "refund":
            refund(connection, command)
        case name:
            raise ValueError(f"payment knows no command {name!r}")


def charge(connection: Connection, command: Command) -> None:
    """Wants the money, once per order."""
    match _lock(connection, command):
        case "new":
            connection.execute(WANT_CHARGE, [_encoded(command), command.order_id])
        case "asked":
            pass  # The provider's answer will be the answer.
        case "charged":
            answer(connection, NAME, command, "done")
        case "declined":
            answer(connection, NAME, command, "refused", "the card is declined")
        case _:
            answer(connection, NAME, command, "refused", "refunded before")


def refund(connection: Connection, command: Command) -> None:
    """Wants the money given back; where none was taken yet, sees to it that none ever is."""
    match _lock(connection, command):
        case "new":
            connection.execute(SET, ["tombstone", command.order_id])
            answer(connection, NAME, command, "done")
        case "asked":
            # Whether it is charged nobody knows. It is given back as soon as that is known.
            connection.execute(WANT_REFUND, ["asked", _encoded(command), command.order_id])
        case "charged" | "returning":
            connection.execute(WANT_REFUND, ["returning", _encoded(command), command.order_id])
        case _:
            answer(connection, NAME, command, "done")


OPEN = """
    select order_id, state from payment.charge where state in ('asked', 'returning')
    order by order_id limit %s
"""


def work(connection: Connection, ask: Ask) -> int:
    """Asks the provider about everything that is open; returns how much of it is known now.

    The connection is in no transaction while the provider is asked.
    """
    rows = connection.execute(OPEN, [AT_ONCE]).fetchall()
    return sum(
        charge_now(connection, ask, order_id)
        if state == "asked"
        else refund_now(connection, ask, order_id)
        for order_id, state in rows
    )


CHARGE_OF = "select charge from payment.charge where order_id = %s and state = 'asked'"
# Whoever is the first to know writes it down; for another process there is no row left.
CHARGED = """
    update payment.charge set state = case when refund is null then 'charged' else 'returning' end
    where order_id = %s and state = 'asked'
"""
DECLINED = """
    update payment.charge set state = 'declined' where order_id = %s and state = 'asked'
    returning refund
"""


def charge_now(connection: Connection, ask: Ask, order_id: UUID) -> bool:
    """Charges one order; False where it is to be asked again, as nothing is decided yet."""
    wanted = _wanted(connection, CHARGE_OF, order_id)
    if wanted is None:
        return True
    verdict = ask("charge", f"{order_id}:charge", wanted)
    if verdict not in ("taken", "declined"):
        return False
    with bounded_transaction(connection):
        if verdict == "taken":
            if connection.execute(CHARGED, [order_id]).rowcount == 1:
                answer(connection, NAME, wanted, "done")
            return True
        row = connection.execute(DECLINED, [order_id]).fetchone()
        if row is not None:
            answer(connection, NAME, wanted, "refused", "the card is declined")
            if row[0] is not None:
                answer(connection, NAME, _decoded(row[0]), "done")
    return True


REFUND_OF = "select refund from payment.charge where order_id = %s and state = 'returning'"
SETTLE = """
    update payment.charge set state = %s where order_id = %s and state = 'returning'
    returning refund
"""


def refund_now(connection: Connection, ask: Ask, order_id: UUID) -> bool:
    """Gives the money of one order back; False where it is not known what became of it."""
    wanted = _wanted(connection, REFUND_OF, order_id)
    if wanted is None:
        return True
    verdict = ask("refund", f"{order_id}:refund", wanted)
    if verdict == "unknown":
        return False
    is_returned = verdict == "taken"
    with bounded_transaction(connection):
        state = "refunded" if is_returned else "charged"
        row = connection.execute(SETTLE, [state, order_id]).fetchone()
        if row is not None:
            command = _decoded(row[0])
            if is_returned:
                answer(connection, NAME, command, "done")
            else:
                answer(connection, NAME, command, "failed", "the provider is busy")
    return True


# Makes the order's row, or locks the one that is there; the update changes nothing.
LOCK = """
    insert into payment.charge (order_id, amount_cents, state) values (%s, %s, 'new')
    on conflict (order_id) do update set state = charge.state
    returning state
"""
WANT_CHARGE = "update payment.charge set state = 'asked', charge = %s where order_id = %s"
WANT_REFUND = "update payment.charge set state = %s, refund = %s where order_id = %s"
SET = "update payment.charge set state = %s where order_id = %s"


def _lock(connection: Connection, command: Command) -> str:
    row = connection.execute(LOCK, [command.order_id, command.amount_cents]).fetchone()
    assert row is not None, "an upsert always returns its row"
    return str(row[0])


def _wanted(connection: Connection, statement: LiteralString, order_id: UUID) -> Command | None:
    row = connection.execute(statement, [order_id]).fetchone()
    return None if row is None else _decoded(row[0])


def _encoded(command: Command) -> bytes:
    return msgspec.json.encode(command)


def _decoded(command: bytes) -> Command:
    return msgspec.json.decode(command, type=Command)


if __name__ == "__main__":
    till = Till()
    live(Service(NAME, take, lambda connection: work(connection, till.ask)))
