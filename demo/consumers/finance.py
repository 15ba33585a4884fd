"""Finance: what an order's `paid` has grown by is income."""

from demo.consumers.consumer import consume
from demo.consumers.inbox import Connection
from demo.consumers.payment import PaymentSuccess

NAME = "finance"

# The update changes nothing: it locks the row and gives back what was booked so far.
LOCK = """
    insert into finance.booked (order_id) values (%s)
    on conflict (order_id) do update set paid = booked.paid
    returning paid
"""
BOOK = """
    with booked as (
        update finance.booked set paid = paid + %(amount)s where order_id = %(order_id)s
    )
    insert into finance.wallet_transaction (order_id, kind, amount, currency)
    values (%(order_id)s, 'INCOME', %(amount)s, %(currency)s)
"""


def book_income(connection: Connection, success: PaymentSuccess) -> None:
    """Books one INCOME wallet transaction, in the open transaction; none where nothing grew."""
    order_id, payment = success.sale_order_id, success.payment
    row = connection.execute(LOCK, [order_id]).fetchone()
    assert row is not None, "an upsert always returns its row"
    amount = payment.paid - row[0]
    if amount > 0:
        parameters = {"order_id": order_id, "amount": amount, "currency": payment.currency}
        connection.execute(BOOK, parameters)


if __name__ == "__main__":
    consume(NAME, book_income)
