"""Payment webhooks through one service process, against the same statements in pgbench."""

import msgspec

from bench import pgbench
from bench.arena import Arena
from bench.orders import make_orders
from bench.process import cpu_seconds, peak_memory_bytes

CONNECTIONS = 32
# What the service's pool has at most, so pgbench gets as many sessions.
POOL_SIZE = 10

COMPLETED = "select count(*) from sale.sale_order where status = 'COMPLETED'"


class Webhooks(msgspec.Struct, frozen=True):
    """Per second and processor time of the service, one of each round; its peak memory in bytes."""

    requests: list[float]
    transactions: list[float]
    pipelined_transactions: list[float]
    cpu_milliseconds: list[float]
    peak_memory_bytes: int


def measure(arena: Arena, rounds: int, count: int) -> Webhooks:
    """Each turn pays `count` orders of its own; all have had a turn before."""
    count -= count % POOL_SIZE
    turns = 3 * (rounds + 1)
    requests: list[float] = []
    transactions: dict[bool, list[float]] = {False: [], True: []}
    cpu_milliseconds: list[float] = []
    service, port = arena.service()
    with service, arena.connect() as connection:
        connection.execute("truncate outbox.message")
        make_orders(connection, 0, turns * count)
        connection.execute("checkpoint")
        for turn in range(0, turns, 3):
            used = cpu_seconds(service.pid)
            answered = arena.measure("caller", port, turn * count, count, CONNECTIONS)
            assert answered["acknowledged"] == count
            requests.append(count / answered["seconds"])
            cpu_milliseconds.append((cpu_seconds(service.pid) - used) / count * 1e3)
            for pipelined, per_second in transactions.items():
                first = (turn + 1 + pipelined) * count
                per_second.append(
                    pgbench.measure(arena, connection, first, count, POOL_SIZE, pipelined=pipelined)
                )
        row = connection.execute(COMPLETED).fetchone()
        assert row == (turns * count,), f"{row} of {turns * count} orders are paid"
        # These channels have no topics: a relay would wait for them.
        connection.execute("truncate outbox.message")
        peak = peak_memory_bytes(service.pid)
    return Webhooks(
        requests=requests[1:],
        transactions=transactions[False][1:],
        pipelined_transactions=transactions[True][1:],
        cpu_milliseconds=cpu_milliseconds[1:],
        peak_memory_bytes=peak,
    )
