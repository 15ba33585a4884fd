"""The orchestrator: four ways in which a saga moves, each within one transaction of the caller.

An order begins, a reply comes, a customer cancels, a deadline passes. Each locks the saga's row
first, so whichever commits first decides, and the others find what it has made of the row.
"""

from typing import Annotated, Literal
from uuid import UUID

import msgspec

from demo.consumers.inbox import Connection
from demo.saga.messages import ACTION_PRIORITY, COMPENSATION_PRIORITY, Command, Reply, send
from demo.saga.steps import PIVOT, STEPS, Step, answer_seconds, position, retry_seconds

State = Literal["forward", "backward", "delivered", "undone"]

SWEEP_AT_ONCE = 20
MAX_QUANTITY = 1_000
MAX_AMOUNT_CENTS = 100_000_000


class UnknownOrder(Exception):
    """There is no such order."""


class Impossible(Exception):
    """A service answered what the table of steps has no place for."""


class Order(msgspec.Struct, frozen=True, rename="camel"):
    """What a customer wants: a product's name of at most 100 characters, whole units and cents."""

    id: UUID
    product: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=MAX_QUANTITY)]
    amount_cents: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT_CENTS)]


class Saga(msgspec.Struct, frozen=True):
    """The row of a saga, locked, and its order."""

    order_id: UUID
    state: State
    step: str
    attempt: int
    product: str
    quantity: int
    amount_cents: int

    @property
    def at(self) -> Step:
        return STEPS[position(self.step)]

    @property
    def may_turn_back(self) -> bool:
        return self.state == "forward" and position(self.step) < position(PIVOT)


INSERT_ORDER = """
    insert into shop.customer_order (id, product, quantity, amount_cents)
    values (%(id)s, %(product)s, %(quantity)s, %(amount_cents)s)
    on conflict (id) do nothing
"""
# The first command is sent at once, and sets the deadline that counts.
INSERT_SAGA = """
    insert into shop.saga (order_id, state, step, attempt, deadline)
    values (%s, 'forward', %s, 1, clock_timestamp())
"""


def begin(connection: Connection, order: Order) -> bool:
    """Takes an order and sends the first command; False where it was taken before."""
    if connection.execute(INSERT_ORDER, msgspec.structs.asdict(order)).rowcount == 0:
        return False
    first = STEPS[0]
    connection.execute(INSERT_SAGA, [order.id, first.name])
    saga = Saga(
        order.id, "forward", first.name, 1, order.product, order.quantity, order.amount_cents
    )
    _do(connection, saga, first)
    return True


def take_reply(connection: Connection, reply: Reply) -> None:
    """Goes on where the reply is to the command that is waited for; else only notes it.

    That is one that comes twice, or after its timeout: whatever it reports is being undone, or
    has been. Raises UnknownOrder, Impossible.
    """
    saga = _lock(connection, reply.order_id)
    expected = saga.at.action if saga.state == "forward" else saga.at.compensation
    if saga.state not in ("forward", "backward") or reply.command != expected:
        _note(connection, saga, "late", reply.command, reply.outcome)
        return
    _note(connection, saga, reply.outcome, reply.command, reply.reason)
    match saga.state, reply.outcome:
        case "forward", "done":
            _go_on(connection, saga)
        case "forward", "refused" if saga.may_turn_back:
            _turn_back(connection, saga, position(saga.step) - 1, reply.reason)
        case "backward", "done":
            _turn_back(connection, saga, position(saga.step) - 1)
        case "backward", "failed":
            _wait(connection, saga, retry_seconds(reply.attempt))
        case _:
            raise Impossible(f"{reply.command} of order {reply.order_id}: {reply.outcome}")


def cancel(connection: Connection, order_id: UUID) -> bool:
    """The customer changes their mind. Whether the order is undone, or will be.

    From the pivot on it is too late. Raises UnknownOrder.
    """
    saga = _lock(connection, order_id)
    if saga.may_turn_back:
        _note(connection, saga, "cancelled", saga.at.action)
        # Whether this step is done is not known yet, so it is undone in any case.
        _turn_back(connection, saga, position(saga.step), "cancelled by the customer")
        return True
    if saga.state in ("forward", "delivered"):
        _note(connection, saga, "cancel refused")
        return False
    return True


SAGA = """
    select order_id, state, step, attempt, product, quantity, amount_cents
    from shop.saga join shop.customer_order on id = order_id
"""
# Of this database's clock, too; unlike clock_timestamp() it can be looked up in an index.
DUE = (
    SAGA
    + """
    where deadline <= statement_timestamp()
    order by deadline
    limit %s
    for update of saga skip locked
"""
)


def sweep(connection: Connection) -> int:
    """Does what is due of the sagas whose deadline has passed; returns how many it saw.

    Only the rows say what is due, so it makes no difference what was running meanwhile. A saga
    that somebody else has locked is being moved, and gets another deadline or is due again.
    """
    due = [Saga(*row) for row in connection.execute(DUE, [SWEEP_AT_ONCE])]
    for saga in due:
        if saga.may_turn_back:
            _note(connection, saga, "timed out", saga.at.action)
            # The action may be done, under way or lost: it is undone in any case.
            _turn_back(connection, saga, position(saga.step), f"no answer to {saga.at.action}")
        elif saga.state == "forward":
            _note(connection, saga, "timed out", saga.at.action)
            _do(connection, saga, saga.at, saga.attempt + 1)
        else:
            _undo(connection, saga, saga.at, saga.attempt + 1)
    return len(due)


def _go_on(connection: Connection, saga: Saga) -> None:
    following = position(saga.step) + 1
    if following == len(STEPS):
        _end(connection, saga, "delivered")
    else:
        _do(connection, saga, STEPS[following])


def _turn_back(connection: Connection, saga: Saga, last: int, reason: str = "") -> None:
    """Undoes the steps from `last` down to the first, one after the other."""
    if last < 0:
        _end(connection, saga, "undone", reason)
    else:
        _undo(connection, saga, STEPS[last], reason=reason)


def _do(connection: Connection, saga: Saga, step: Step, attempt: int = 1) -> None:
    _move(connection, saga, "forward", step, attempt, "")
    _send(connection, saga, step, step.action, attempt, ACTION_PRIORITY)


def _undo(
    connection: Connection, saga: Saga, step: Step, attempt: int = 1, *, reason: str = ""
) -> None:
    assert step.compensation is not None, "nothing turns back from the pivot on"
    _move(connection, saga, "backward", step, attempt, reason)
    _send(connection, saga, step, step.compensation, attempt, COMPENSATION_PRIORITY)


def _send(
    connection: Connection, saga: Saga, step: Step, name: str, attempt: int, priority: int
) -> None:
    command = Command(
        order_id=saga.order_id,
        step=step.name,
        name=name,
        attempt=attempt,
        product=saga.product,
        quantity=saga.quantity,
        amount_cents=saga.amount_cents,
    )
    send(connection, step.service, command, priority=priority)
    _note(connection, saga, "sent", name, f"attempt {attempt}")


LOCK = (
    SAGA
    + """
    where order_id = %s
    for update of saga
"""
)


def _lock(connection: Connection, order_id: UUID) -> Saga:
    row = connection.execute(LOCK, [order_id]).fetchone()
    if row is None:
        raise UnknownOrder(str(order_id))
    return Saga(*row)


MOVE = """
    update shop.saga
    set state = %s, step = %s, attempt = %s, reason = coalesce(nullif(reason, ''), %s),
        deadline = clock_timestamp() + make_interval(secs => %s)
    where order_id = %s
"""


def _move(
    connection: Connection, saga: Saga, state: State, step: Step, attempt: int, reason: str
) -> None:
    seconds = answer_seconds(step, attempt)
    connection.execute(MOVE, [state, step.name, attempt, reason, seconds, saga.order_id])


WAIT = """
    update shop.saga set deadline = clock_timestamp() + make_interval(secs => %s)
    where order_id = %s
"""


def _wait(connection: Connection, saga: Saga, seconds: float) -> None:
    """The step stays as it is, undone by nobody yet, until the sweep sends its command again."""
    connection.execute(WAIT, [seconds, saga.order_id])


END_SAGA = """
    update shop.saga
    set state = %s, deadline = null, reason = coalesce(nullif(reason, ''), %s)
    where order_id = %s
"""
END_ORDER = "update shop.customer_order set status = %s, ended_at = clock_timestamp() where id = %s"
STATUSES: dict[State, str] = {"delivered": "delivered", "undone": "cancelled"}


def _end(connection: Connection, saga: Saga, state: State, reason: str = "") -> None:
    """The end of the saga and of the semantic lock, in the transaction of the last reply."""
    connection.execute(END_SAGA, [state, reason, saga.order_id])
    connection.execute(END_ORDER, [STATUSES[state], saga.order_id])
    _note(connection, saga, state)


NOTE = "insert into shop.history (order_id, event, command, detail) values (%s, %s, %s, %s)"


def _note(
    connection: Connection, saga: Saga, event: str, command: str = "", detail: str = ""
) -> None:
    connection.execute(NOTE, [saga.order_id, event, command, detail])
