"""`make bench`: every figure in one run, one table."""

import argparse
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.status import Status

from bench import drain, idle, latency, messages, subscriptions, webhooks
from bench.arena import Arena
from bench.drain import Drain
from bench.figures import Figure, Section, at_most, ratio, table
from local.server import StartError

WARM_UP_SHARE = 4
# What a broker does for small runs is compiled after some thousands of them.
WARM_UP_SECONDS = 8
MEBIBYTE = 1 << 20
# Of a log or a pipe, which knows no width.
PLAIN_WIDTH = 120
BARE, PLAIN, RELAY, CLASSIC = "bare loop", "plain loop", "this relay", "classic relay"
MANY = 100
HELD = ", old snapshot held"


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where a server does not start."""
    arguments = _arguments()
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    began_at = time.monotonic()
    try:
        with console.status("starting Postgres and Kafka") as status, Arena.open() as arena:
            sections = _measure(arena, arguments, status)
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    console.print(table(sections))
    for section in sections:
        console.print(f"[bold]{section.title}:[/bold] {section.note}")
    console.print(
        f"{time.monotonic() - began_at:.0f} s in all; measured are medians of the rounds."
    )
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog="Starts a Postgres and a Kafka of its own; the environment's are left alone.",
    )
    add = parser.add_argument
    add("--rounds", type=int, choices=range(1, 21), default=3, metavar="N", help="1 to 20; 3")
    add("--messages", type=int, default=200_000, metavar="N", help="in a drain's backlog; 200000")
    add("--quick", action="store_true", help="a minute's look: small and once, no figure to quote")
    arguments = parser.parse_args()
    if not 10_000 <= arguments.messages <= 10_000_000:
        parser.error("--messages: write a number from 10000 to 10000000")
    if arguments.quick:
        arguments.rounds, arguments.messages = 1, 20_000
    return arguments


def _measure(arena: Arena, arguments: argparse.Namespace, status: Status) -> list[Section]:
    """In this order: the warm-up for both servers first, and what writes gigabytes last."""
    quick: bool = arguments.quick
    with arena.connect() as connection:
        messages.make_classic_table(connection)
    for topic in (messages.TOPIC, latency.TOPIC):
        arena.make_topic(topic)
    for name, turn in _turns(arena, max(arguments.messages // WARM_UP_SHARE, 10_000)).items():
        status.update(f"warm-up: {name}")
        turn()
    status.update("warm-up: latency")
    latency.measure(arena, 1000, 1 if quick else WARM_UP_SECONDS)
    latencies = [_latency(arena, rate, 2 if quick else 10, status) for rate in (1000, 100)]
    status.update("idle relay")
    resting = _idle(arena, 3 if quick else 20)
    once = _exactly_once(arena, arguments, status)
    shared = _many(arena, arguments, status)
    status.update("webhooks: the service and pgbench in turn")
    paid = _webhooks(arena, arguments.rounds, 500 if quick else 3000)
    drained = _drains(arena, arguments.rounds, arguments.messages, status)
    return [drained, *latencies, resting, once, shared, paid]


def _turns(arena: Arena, count: int) -> dict[str, Callable[[], Drain]]:
    def held(turn: Callable[[Arena, int], Drain]) -> Drain:
        with arena.old_snapshot():
            return turn(arena, count)

    return {
        RELAY: lambda: drain.by_relay(arena, count),
        BARE: lambda: drain.by_loop(arena, "bare"),
        PLAIN: lambda: drain.by_loop(arena, "plain"),
        CLASSIC: lambda: drain.by_classic_relay(arena, count),
        RELAY + HELD: lambda: held(drain.by_relay),
        CLASSIC + HELD: lambda: held(drain.by_classic_relay),
    }


def _drains(arena: Arena, rounds: int, count: int, status: Status) -> Section:
    turns = _turns(arena, count)
    order = list(turns)
    drains: dict[str, list[Drain]] = {name: [] for name in order}
    for number in range(rounds):
        for name in order:
            status.update(f"drain of {count:,}, round {number + 1} of {rounds}: {name}")
            drains[name].append(turns[name]())
        order.append(order.pop(0))
    rates = {name: [one.messages_per_second for one in each] for name, each in drains.items()}
    polls = {
        name: [one.empty_poll_seconds * 1000 for one in drains[name + HELD]]
        for name in (RELAY, CLASSIC)
    }
    peak = max(one.peak_memory_bytes for one in drains[RELAY]) / MEBIBYTE
    return Section(
        f"Drain of {count:,} messages of 500 bytes",
        [
            *(Figure(name, values, "{:,.0f} /s") for name, values in rates.items()),
            ratio("relay ÷ bare loop", rates[RELAY], rates[BARE], 0.85),
            ratio("relay ÷ plain loop", rates[RELAY], rates[PLAIN]),
            ratio("relay ÷ classic", rates[RELAY], rates[CLASSIC], 2),
            ratio("relay ÷ classic" + HELD, rates[RELAY + HELD], rates[CLASSIC + HELD], 3),
            ratio("relay, old snapshot held ÷ not", rates[RELAY + HELD], rates[RELAY], 0.9),
            *(
                Figure(f"processor per message, {name}", _cpu(drains[name]), "{:.2f} µs")
                for name in (RELAY, BARE, PLAIN, CLASSIC)
            ),
            Figure("empty poll of this relay" + HELD, polls[RELAY], "{:.2f} ms"),
            Figure("empty poll of the classic" + HELD, polls[CLASSIC], "{:.2f} ms"),
            *_written(RELAY, drains[RELAY], 1),
            *_written(CLASSIC, drains[CLASSIC], None),
            Figure("peak memory of the relay", [peak], "{:.0f} MiB", at_most(200)),
        ],
        "every process warm by a message of its own; same producer settings, keys and seven "
        "headers. The bare loop has all of it in memory; the plain loop reads the same rows of the "
        "same table and makes the headers, and keeps no promise. The clock runs in the bare loop "
        "from the first produce, and in the plain one from its statement, to the last "
        "acknowledgement, in the classic relay from the first claim to the last commit, in this "
        "relay (a running process, its subscription paused for the fill) from the first claim to "
        "the last checkpoint. WAL is all that the server wrote meanwhile; statements are counted "
        "in its log, polls among them.",
    )


def _cpu(drains: list[Drain]) -> list[float]:
    return [one.cpu_microseconds_per_message for one in drains]


def _written(name: str, drains: list[Drain], max_wal_bytes: float | None) -> list[Figure]:
    wal = [one.wal_bytes_per_message for one in drains]
    statements = [one.statements_per_message for one in drains]
    target = None if max_wal_bytes is None else at_most(max_wal_bytes)
    return [
        Figure(f"WAL per message, {name}", wal, "{:.2f} B", target),
        Figure(f"statements per message, {name}", statements, "{:.5f}"),
    ]


def _latency(arena: Arena, rate: int, seconds: int, status: Status) -> Section:
    status.update(f"latency at {rate} transactions/s")
    measured = latency.measure(arena, rate, seconds)
    targets = {50: at_most(3.5), 99: at_most(10)}
    figures = [
        Figure(f"{what}, p{percent}", [latency.percentile(times, percent)], "{:.1f} ms", target)
        for what, times, goal in (
            ("checkpointed by the relay", measured.acknowledged, False),
            ("as a consumer sees it", measured.consumed, rate == 1000),
        )
        for percent in (50, 99)
        for target in [targets[percent] if goal else None]
    ]
    return Section(
        f"Commit → acknowledged at {rate:,}/s",
        figures,
        f"from the answer to the writer's commit; {measured.rate:,.0f} transactions of one message "
        f"a second over {seconds} s; one clock, the machine's, for writer, database and consumer.",
    )


def _idle(arena: Arena, seconds: int) -> Section:
    measured = idle.measure(arena, seconds)
    return Section(
        "Idle",
        [
            Figure("relay, of one core", [measured.relay * 100], "{:.2f} %"),
            Figure("Postgres, of one core", [measured.postgres * 100], "{:.2f} %"),
            Figure(
                "both, of one core",
                [(measured.relay + measured.postgres) * 100],
                "{:.2f} %",
                at_most(2),
            ),
            Figure("WAL of the relay's sessions", [measured.wal_bytes], "{:.0f} B", at_most(0)),
        ],
        f"processor time of the relay and of all of Postgres's processes over {seconds} s.",
    )


def _exactly_once(arena: Arena, arguments: argparse.Namespace, status: Status) -> Section:
    rates: dict[str, list[float]] = {"at least once": [], "exactly once": []}
    with arena.connect() as connection:
        for number in range(arguments.rounds):
            status.update(f"exactly once, round {number + 1} of {arguments.rounds}")
            drained = drain.by_relay(arena, arguments.messages)
            rates["at least once"].append(drained.messages_per_second)
            with subscriptions.exactly_once(connection):
                drained = drain.by_relay(arena, arguments.messages)
            rates["exactly once"].append(drained.messages_per_second)
        status.update("exactly once at 1000 transactions/s")
        with subscriptions.exactly_once(connection):
            latency.measure(arena, 1000, 1 if arguments.quick else WARM_UP_SECONDS)
            measured = latency.measure(arena, 1000, 2 if arguments.quick else 10)
    seen = {percent: [latency.percentile(measured.consumed, percent)] for percent in (50, 99)}
    return Section(
        "Exactly once",
        [
            *(Figure(f"drain, {name}", values, "{:,.0f} /s") for name, values in rates.items()),
            ratio("exactly ÷ at least once", rates["exactly once"], rates["at least once"], 0.9),
            Figure("commit to a read_committed consumer, p50", seen[50], "{:.1f} ms", at_most(15)),
            Figure("commit to a read_committed consumer, p99", seen[99], "{:.1f} ms"),
        ],
        "in turn, by one relay process each; the latency at 1,000 transactions a second.",
    )


def _many(arena: Arena, arguments: argparse.Namespace, status: Status) -> Section:
    rates: dict[int, list[float]] = {1: [], MANY: []}
    peaks = []
    with arena.connect() as connection, subscriptions.many(arena, connection, MANY):
        status.update(f"{MANY} subscriptions: warm-up")
        drain.by_relay(arena, arguments.messages, MANY)
        for number in range(arguments.rounds):
            status.update(f"{MANY} subscriptions, round {number + 1} of {arguments.rounds}")
            drained = drain.by_relay(arena, arguments.messages, MANY)
            rates[MANY].append(drained.messages_per_second)
            peaks.append(drained.peak_memory_bytes / MEBIBYTE)
        status.update(f"idle relay, {MANY} subscriptions")
        resting = idle.measure(arena, 3 if arguments.quick else 20)
    for _ in range(arguments.rounds):
        rates[1].append(drain.by_relay(arena, arguments.messages).messages_per_second)
    both = (resting.relay + resting.postgres) * 100
    return Section(
        f"{MANY} Kafka subscriptions",
        [
            Figure(f"deliveries, {MANY} subscriptions", rates[MANY], "{:,.0f} /s"),
            Figure("deliveries, one subscription", rates[1], "{:,.0f} /s"),
            ratio(f"{MANY} ÷ one", rates[MANY], rates[1], 0.8),
            Figure("peak memory of the relay", [max(peaks)], "{:.0f} MiB", at_most(200)),
            Figure("idle: relay and Postgres, of one core", [both], "{:.2f} %", at_most(2)),
            Figure(
                "idle: WAL of the relay's sessions", [resting.wal_bytes], "{:.0f} B", at_most(0)
            ),
        ],
        f"as many deliveries in all, each of the {MANY} to a topic of its own.",
    )


def _webhooks(arena: Arena, rounds: int, count: int) -> Section:
    measured = webhooks.measure(arena, rounds, count)
    peak = measured.peak_memory_bytes / MEBIBYTE
    return Section(
        "Payment webhooks",
        [
            Figure("one service process", measured.requests, "{:,.0f} /s"),
            Figure("pgbench, the same statements", measured.transactions, "{:,.0f} /s"),
            Figure("pgbench, in two pipelines", measured.pipelined_transactions, "{:,.0f} /s"),
            ratio("service ÷ pgbench", measured.requests, measured.transactions, 0.4),
            ratio(
                "service ÷ pgbench in pipelines", measured.requests, measured.pipelined_transactions
            ),
            Figure("processor per webhook, service", measured.cpu_milliseconds, "{:.2f} ms"),
            Figure("peak memory of the service", [peak], "{:.0f} MiB", at_most(150)),
        ],
        f"{count:,} orders a turn, each paid in full by one ATTEMPT_SUCCESS: three messages, "
        f"points, one allocation; {webhooks.CONNECTIONS} keep-alive connections; pgbench with "
        f"prepared statements and {webhooks.POOL_SIZE} sessions, like the service's pool, "
        "each statement waiting for its answer or in two pipelines, as the service sends them.",
    )


if __name__ == "__main__":
    sys.exit(main())
