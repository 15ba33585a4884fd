"""Inventory: what is paid in full leaves the stock, once per order, and is told to others."""

from collections import Counter

from demo.consumers.consumer import consume
from demo.consumers.inbox import Connection, first_time
from demo.consumers.payment import PaymentSuccess

NAME = "inventory"


class UnknownProductError(Exception):
    """What was sold is not in the stock table."""


CHANNEL = "inventory.updates"

# The message is published for the row that the update gives back, and so after it has the lock:
# a product's messages have an order.
DEDUCT = """
    with stock as (
        update inventory.stock
        set on_hand = on_hand - %s
        where product = %s
        returning product, on_hand
    )
    select outbox.publish('inventory.updates', 'stock.changed',
                          json_build_object('product', product, 'onHand', on_hand),
                          group_key => product)
    from stock
"""


def deduct_stock(connection: Connection, success: PaymentSuccess) -> None:
    """Takes an order's PRODUCT items from the stock when it is fully paid, in the open transaction.

    In which it publishes what is left, to the outbox of this database. Once per order, too: a
    second full payment of an order would be another message. Raises UnknownProductError: the
    message stays where it is until the product is in the table.
    """
    if not success.payment.is_fully_paid:
        return
    if not first_time(connection, f"{NAME}.order", str(success.sale_order_id)):
        return
    sold: Counter[str] = Counter()
    for item in success.items:
        if item.mode == "PRODUCT":
            sold[item.item_id] += item.quantity
    # Always in the same order: two inventories at work never wait for each other in a circle.
    for product, quantity in sorted(sold.items()):
        if connection.execute(DEDUCT, [quantity, product]).rowcount != 1:
            raise UnknownProductError(
                f"product {product!r} of order {success.sale_order_id} is not in inventory.stock; "
                "add it there and start again"
            )


if __name__ == "__main__":
    consume(NAME, deduct_stock)
