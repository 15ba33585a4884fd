"""Inventory: reserves what an order wants, and puts it back."""

import msgspec

from demo.consumers.inbox import Connection
from demo.saga import fate
from demo.saga.messages import Command, answer
from demo.saga.services.life import Service, live

NAME = "inventory"


def take(connection: Connection, body: bytes) -> None:
    """Does what the command says and answers, in the open transaction."""
    command = msgspec.json.decode(body, type=Command)
    match command.name:
        case "reserve":
            reserve(connection, command)
        case "release":
            release(connection, command)
        case name:
            raise ValueError(f"inventory knows no command {name!r}")


# Makes the order's row, or locks the one that is there; the update changes nothing.
LOCK = """
    insert into inventory.reservation (order_id, product, quantity, state)
    values (%s, %s, %s, 'new')
    on conflict (order_id) do update set state = reservation.state
    returning state
"""
# One statement asks and takes: of two orders that want the last item one finds it.
TAKE = """
    update inventory.stock set available = available - %s where product = %s and available >= %s
"""
PUT_BACK = "update inventory.stock set available = available + %s where product = %s"


def reserve(connection: Connection, command: Command) -> None:
    """Takes the goods from the stock, once per order."""
    match _lock(connection, command):
        case "new":
            wanted = [command.quantity, command.product, command.quantity]
            if connection.execute(TAKE, wanted).rowcount == 1:
                _set(connection, command, "reserved")
                answer(connection, NAME, command, "done")
            else:
                _set(connection, command, "refused")
                answer(connection, NAME, command, "refused", "out of stock")
        case "reserved":
            answer(connection, NAME, command, "done")
        case "refused":
            answer(connection, NAME, command, "refused", "out of stock")
        case _:
            answer(connection, NAME, command, "refused", "released before")


def release(connection: Connection, command: Command) -> None:
    """Puts the goods back, once; where there are none yet, sees to it that there never are."""
    match _lock(connection, command):
        case "new":
            _set(connection, command, "tombstone")
        case "reserved":
            if command.attempt <= fate.failed_releases(command.order_id):
                answer(connection, NAME, command, "failed", "the shelf is being counted")
                return
            connection.execute(PUT_BACK, [command.quantity, command.product])
            _set(connection, command, "released")
    answer(connection, NAME, command, "done")


def _lock(connection: Connection, command: Command) -> str:
    parameters = [command.order_id, command.product, command.quantity]
    row = connection.execute(LOCK, parameters).fetchone()
    assert row is not None, "an upsert always returns its row"
    return str(row[0])


SET = "update inventory.reservation set state = %s where order_id = %s"


def _set(connection: Connection, command: Command, state: str) -> None:
    connection.execute(SET, [state, command.order_id])


if __name__ == "__main__":
    live(Service(NAME, take))
