"""Fulfilment: packs a parcel, unpacks it, and ships it, after which nobody undoes anything."""

import msgspec

from demo.consumers.inbox import Connection
from demo.saga import fate
from demo.saga.messages import Command, answer
from demo.saga.services.life import Service, live

NAME = "fulfilment"


def take(connection: Connection, body: bytes) -> None:
    """Does what the command says and answers, in the open transaction."""
    command = msgspec.json.decode(body, type=Command)
    match command.name:
        case "request":
            request(connection, command)
        case "withdraw":
            withdraw(connection, command)
        case "ship":
            ship(connection, command)
        case name:
            raise ValueError(f"fulfilment knows no command {name!r}")


class NotPackedError(Exception):
    """What shall be shipped was never packed, or has been withdrawn."""


def request(connection: Connection, command: Command) -> None:
    """Packs the parcel, unless the warehouse is closed."""
    match _lock(connection, command):
        case "new" if fate.finds_closed(command.order_id):
            _set(connection, command, "refused")
            answer(connection, NAME, command, "refused", "the warehouse is closed")
        case "new":
            _set(connection, command, "packed")
            answer(connection, NAME, command, "done")
        case "packed" | "shipped":
            answer(connection, NAME, command, "done")
        case "refused":
            answer(connection, NAME, command, "refused", "the warehouse is closed")
        case _:
            answer(connection, NAME, command, "refused", "withdrawn before")


def withdraw(connection: Connection, command: Command) -> None:
    """Unpacks the parcel; where there is none yet, sees to it that there never is."""
    match _lock(connection, command):
        case "new":
            _set(connection, command, "tombstone")
        case "packed":
            _set(connection, command, "withdrawn")
        case "shipped":
            raise NotPackedError(f"the parcel of order {command.order_id} has gone")
    answer(connection, NAME, command, "done")


SHIP = "insert into fulfilment.shipment (order_id, product, quantity) values (%s, %s, %s)"


def ship(connection: Connection, command: Command) -> None:
    """Hands the parcel over, once. Raises NotPackedError, which no order of messages leads to."""
    match _lock(connection, command):
        case "packed":
            _set(connection, command, "shipped")
            connection.execute(SHIP, [command.order_id, command.product, command.quantity])
        case "shipped":
            pass
        case state:
            raise NotPackedError(f"the parcel of order {command.order_id} is {state}")
    answer(connection, NAME, command, "done")


# Makes the order's row, or locks the one that is there; the update changes nothing.
LOCK = """
    insert into fulfilment.parcel (order_id, product, quantity, state)
    values (%s, %s, %s, 'new')
    on conflict (order_id) do update set state = parcel.state
    returning state
"""


def _lock(connection: Connection, command: Command) -> str:
    parameters = [command.order_id, command.product, command.quantity]
    row = connection.execute(LOCK, parameters).fetchone()
    assert row is not None, "an upsert always returns its row"
    return str(row[0])


SET = "update fulfilment.parcel set state = %s where order_id = %s"


def _set(connection: Connection, command: Command, state: str) -> None:
    connection.execute(SET, [state, command.order_id])


if __name__ == "__main__":
    live(Service(NAME, take))
