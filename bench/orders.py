"""Orders whose payment has been started; their ids are numbers in the shape of a UUID."""

from typing import LiteralString

from bench.arena import Connection

TOTAL = "25.50"
MAKE: LiteralString = """
with made as (
    insert into sale.sale_order
        (id, number, status, merchant_id, sale_channel_id, customer_id, currency, total,
         created_by, modified_by)
    select ('00000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'N-' || n, 'PROCESSING',
           'merchant', 'web', 'customer', 'EUR', 25.50, 'cashier', 'cashier'
    from generate_series(%(first)s::integer, %(first)s::integer + %(count)s - 1) as n
    returning id
), items as (
    insert into sale.order_item (order_id, position, item_type, item_id, quantity, mode)
    select id, position, 'GOODS', 'item-' || position, 2, 'PRODUCT'
    from made cross join generate_series(0, 1) as position
)
insert into sale.allocation_usage (order_id, position, allocation_id)
select id, 0, 'voucher' from made
"""
SQL_ORDER_ID = "('00000000-0000-4000-8000-' || lpad(to_hex(:n::integer), 12, '0'))::uuid"


def order_id(n: int) -> str:
    """The id of order n."""
    return f"00000000-0000-4000-8000-{n:012x}"


def make_orders(connection: Connection, first: int, count: int) -> None:
    """PROCESSING orders of two items and one active allocation each."""
    connection.execute(MAKE, {"first": first, "count": count})
    connection.execute("analyze")
