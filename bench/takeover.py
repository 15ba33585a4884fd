"""`make bench-takeover`: how soon another relay goes on where one was killed.

Two relay processes share one subscription while messages come at a steady rate. Whichever is in the
middle of a run, its transaction open, is stopped there and gets SIGKILL, and is started anew some
seconds later; again and again. The clock runs from the stop until a consumer has the first message
that was written after it: only another relay can have sent that one.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import chain

import msgspec

from bench import subscriptions
from bench.arena import Arena, Connection
from bench.figures import Figure, Section, at_most
from bench.push import latency
from bench.push.arena import PushArena
from bench.push.subscribers import CHANNEL, fill, subscribed
from bench.screen import Screen
from bench.watch import send_one, watch
from bench.writer import PUBLISH
from local.program import Program

TARGET_SECONDS = 1.0
EXACTLY_ONCE_TARGET_SECONDS = 2.0
# Both relays are connected and at rest again; then a kill, and what was killed comes back when the
# other has gone on for a while: a start takes processor time of which a takeover must have none.
SETTLE_SECONDS = 2.0
AWAY_SECONDS = 3.0
# A round with the start of a relay; what a busy machine may take beyond that over all rounds.
ROUND_SECONDS = 7.0
SLACK_SECONDS = 10
# Longer than a relay may stand still before another ends its session.
FROZEN_SECONDS = 22
FIND_TIMEOUT_SECONDS = 30
# A commit that the stopped relay has sent is done after that.
UNDER_WAY_SECONDS = 0.02

Arrivals = Callable[[], Mapping[int, int]]


class Takeovers(msgspec.Struct, frozen=True):
    """Seconds: after each kill, after a freeze; and the longest that a message took to arrive, from
    its commit's answer, of those between the first kill and the freeze.
    """

    killed: Sequence[float]
    frozen: Sequence[float]
    longest_wait: float


def main() -> int:
    """Exit 0 when everything was measured, whatever it came to; 1 where it can't be."""
    arguments, screen = _arguments(), Screen()
    note = (
        "from the stop of the relay that is in the middle of a run, killed at once, to the "
        "first arrival, at a read_committed consumer or an endpoint, of a message written "
        f"after it; median and slowest of {arguments.rounds}; {arguments.rate} messages a "
        "second; one clock, the machine's, for all. The longest wait is of any message after "
        "the first kill, from its commit's answer: what a relay that comes back takes is in it."
    )

    def show(measured: list[list[Figure]]) -> None:
        figures = list(chain.from_iterable(measured))
        screen.show([Section("Takeover by the other of two relays", figures, note)])

    return screen.run(_measure(arguments.rounds, arguments.rate, screen.tell), show)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.takeover",
        description=__doc__,
        epilog="Starts a Postgres and a Kafka of its own; the environment's are left alone.",
    )
    add = parser.add_argument
    add("--rounds", type=int, default=10, metavar="N", help="kills of each kind, 1 to 50; 10")
    add("--rate", type=int, default=200, metavar="N", help="messages a second, 10 to 1000; 200")
    arguments = parser.parse_args()
    if not 1 <= arguments.rounds <= 50:
        parser.error("--rounds: write a number from 1 to 50")
    if not 10 <= arguments.rate <= 1000:
        parser.error("--rate: write a number from 10 to 1000")
    return arguments


def _measure(rounds: int, rate: int, tell: Callable[[str], None]) -> Iterator[list[Figure]]:
    tell("Postgres and Kafka start")
    with Arena.open() as arena, arena.connect() as connection:
        tell("at least once: kills, and one freeze")
        killed = _to_kafka(arena, connection, "bench.takeover.least", rounds, rate, freezes=1)
        yield _figures("at least once to Kafka", killed, TARGET_SECONDS)
        tell("exactly once: kills")
        with subscriptions.exactly_once(connection):
            killed = _to_kafka(arena, connection, "bench.takeover.exactly", rounds, rate)
        yield _figures("exactly once to Kafka", killed, EXACTLY_ONCE_TARGET_SECONDS)
    with PushArena.start_all() as pushing, pushing.connect() as connection:
        tell("an endpoint: kills")
        yield _figures("endpoint", _to_endpoint(pushing, connection, rounds, rate), TARGET_SECONDS)


def _figures(kind: str, taken: Takeovers, target_seconds: float) -> list[Figure]:
    target = at_most(target_seconds)
    figures = [
        Figure(kind, taken.killed, "{:.2f} s", target),
        Figure("  slowest", [max(taken.killed)], "{:.2f} s", target),
    ]
    if taken.frozen:
        figures.append(Figure("  after SIGSTOP instead of SIGKILL", taken.frozen, "{:.2f} s"))
    return [*figures, Figure("  longest wait of a message", [taken.longest_wait], "{:.2f} s")]


def _to_kafka(
    arena: Arena,
    connection: Connection,
    topic: str,
    rounds: int,
    rate: int,
    freezes: int = 0,
) -> Takeovers:
    arena.make_topic(topic)

    def read(count: int) -> Arrivals:
        # The first transaction of a broker takes seconds.
        send_one(connection, topic)
        reader = arena.start("reader", arena.kafka.bootstrap_servers, topic, count)
        assert reader.stdout is not None
        reader.stdout.readline()
        return lambda: dict(arena.result(reader))

    return _take_over(arena, connection, topic, rounds, rate, freezes, nullcontext(), read)


def _to_endpoint(arena: PushArena, connection: Connection, rounds: int, rate: int) -> Takeovers:
    def read(count: int) -> Arrivals:
        fill(connection, 1)
        watch(connection, 1)
        arena.endpoints.take()
        return lambda: {one.n: one.begin for one in latency.wait(arena, 1, count)}

    wanted = subscribed(arena, connection, 1)
    return _take_over(arena, connection, CHANNEL, rounds, rate, 0, wanted, read)


def _take_over(
    arena: Arena,
    connection: Connection,
    channel: str,
    rounds: int,
    rate: int,
    freezes: int,
    wanted: AbstractContextManager[None],
    read: Callable[[int], Arrivals],
) -> Takeovers:
    """`read` waits until messages go and begins to read so many; what it returns waits for the last
    of them.
    """
    seconds = round(rounds * ROUND_SECONDS) + freezes * FROZEN_SECONDS + SLACK_SECONDS
    with wanted, ExitStack() as stack:
        relays = [stack.enter_context(arena.relay()) for _ in range(2)]
        arrivals = read(rate * seconds)
        writer = arena.start("writer", arena.database_url, PUBLISH, channel, rate, seconds)
        try:
            killed = [_kill(connection, relays) for _ in range(rounds)]
            frozen = [_freeze(connection, relays) for _ in range(freezes)]
            if writer.poll() is not None:
                raise RuntimeError(f"{rounds} kills took longer than {seconds} s")
        except BaseException:
            writer.kill()
            raise
        committed = arena.result(writer)
        arrived = arrivals()
        published = _published(connection, channel, {id_: n for n, id_, _ in committed})
    # What is under way at a freeze waits for its end, and is no wait for a takeover.
    first, last = killed[0], min(frozen, default=sys.maxsize) - int(SETTLE_SECONDS * 1e9)
    return Takeovers(
        killed=seconds_until_arrival(killed, published, arrived),
        frozen=seconds_until_arrival(frozen, published, arrived),
        longest_wait=max(arrived[n] - at for n, _, at in committed if first < at < last) / 1e9,
    )


def seconds_until_arrival(
    since: Sequence[int], published: Mapping[int, int], arrived: Mapping[int, int]
) -> list[float]:
    """From each of these times to the first arrival of what was published after it.

    All are nanoseconds since 1970, of messages by their numbers.
    """
    return [
        (min(arrived[n] for n, written_at in published.items() if written_at > at) - at) / 1e9
        for at in since
    ]


def _kill(connection: Connection, relays: Sequence[Program]) -> int:
    """Returns when: nanoseconds since 1970. The killed one is back in the end."""
    began_at = time.monotonic()
    time.sleep(SETTLE_SECONDS)
    relay, at = _stop_in_run(connection, relays)
    relay.kill()
    time.sleep(AWAY_SECONDS)
    relay.launch()
    time.sleep(max(0.0, began_at + ROUND_SECONDS - time.monotonic()))
    return at


def _freeze(connection: Connection, relays: Sequence[Program]) -> int:
    """The same, by SIGSTOP. The frozen one wakes in the end."""
    time.sleep(SETTLE_SECONDS)
    relay, at = _stop_in_run(connection, relays)
    time.sleep(FROZEN_SECONDS - SETTLE_SECONDS)
    relay.resume()
    return at


# By its name a relay tells its process, and in a run which cursor it holds. The server waits for it
# in the middle of its transaction.
IN_RUN = """
select substring(application_name from '-([0-9]+) cursor ')::integer
from pg_stat_activity
where application_name like 'outbox-relay % cursor %'
  and wait_event in ('ClientRead', 'ClientWrite')
"""


def _stop_in_run(connection: Connection, relays: Sequence[Program]) -> tuple[Program, int]:
    """Stops that one of the relays which holds a cursor, so that it holds it still when it is
    killed; and when it was stopped. Raises RuntimeError where none works.
    """
    by_pid = {relay.pid: relay for relay in relays}
    deadline = time.monotonic() + FIND_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        for (pid,) in connection.execute(IN_RUN).fetchall():
            at = time.time_ns()
            by_pid[pid].pause()
            time.sleep(UNDER_WAY_SECONDS)
            if (pid,) in connection.execute(IN_RUN).fetchall():
                return by_pid[pid], at
            by_pid[pid].resume()
    raise RuntimeError(f"no relay was in the middle of a run within {FIND_TIMEOUT_SECONDS} s")


# Not when the commit was answered: a message can be seen, and sent, before that.
PUBLISHED = """
select id, (extract(epoch from created_at) * 1000000)::bigint * 1000
from outbox.message where channel = %s
"""


def _published(
    connection: Connection, channel: str, numbers: Mapping[int, int]
) -> Mapping[int, int]:
    """When each message was inserted, by its number: the server's clock is the machine's."""
    rows = connection.execute(PUBLISHED, (channel,)).fetchall()
    return {numbers[id_]: at for id_, at in rows if id_ in numbers}


if __name__ == "__main__":
    sys.exit(main())
