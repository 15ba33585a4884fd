"""What is measured, in which order, and what it should come to."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec

from bench.arena import Connection
from bench.figures import Figure, Section, at_most, ratio
from bench.latency import percentile
from bench.push import drain, growth, isolation, latency, slots
from bench.push.arena import PushArena
from bench.push.drain import Turn
from bench.push.isolation import Disturbance

NAMES = ("deliveries", "tls", "slots", "latency", "isolation", "growth")
SUBSCRIPTIONS = (1, 10, 100)
# Deliveries a second ÷ those of the bare loop, that is, what aiohttp costs ÷ what all of this does.
MIN_RATIO, MIN_SECURE_RATIO = 2.0, 1.5

T = TypeVar("T")


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries of a drain, a second, and seconds of it; what lies about; how often each."""

    rounds: int = 3
    deliveries: int = 12_000
    rates: tuple[int, ...] = (200, 1000)
    seconds: int = 8
    slot_seconds: int = 8
    isolation_rounds: int = 5
    isolation_seconds: int = 11
    backlog: int = 1_000_000
    rows: int = 100_000


class Bench:
    """Every section is taken by itself: its candidates in turn, in another order each round."""

    def __init__(
        self, arena: PushArena, connection: Connection, sizes: Sizes, tell: Callable[[str], None]
    ) -> None:
        self._arena = arena
        self._connection = connection
        self._sizes = sizes
        self._tell = tell

    def section(self, name: str) -> Section:
        """One of NAMES."""
        measures = {
            "deliveries": self._deliveries,
            "tls": self._tls,
            "slots": self._slots,
            "latency": self._latency,
            "isolation": self._isolation,
            "growth": self._growth,
        }
        return measures[name]()

    def _in_turn(
        self, title: str, turns: dict[str, Callable[[], T]], rounds: int | None = None
    ) -> dict[str, list[T]]:
        """What each turn came to, round by round."""
        rounds = rounds or self._sizes.rounds
        order, taken = list(turns), defaultdict[str, list[T]](list)
        for number in range(rounds):
            for name in order:
                self._tell(f"{title}, round {number + 1} of {rounds}: {name}")
                taken[name].append(turns[name]())
            order.append(order.pop(0))
        return taken

    def _deliveries(self) -> Section:
        arena, connection, deliveries = self._arena, self._connection, self._sizes.deliveries
        turns: dict[str, Callable[[], Turn]] = {}
        for count in SUBSCRIPTIONS:
            each = partial(drain.by_relay, arena, connection, count, deliveries)
            turns |= {
                f"{count} bare": partial(drain.by_bare_loop, arena, connection, count, deliveries),
                f"{count} none": partial(each, "none"),
                f"{count} all": partial(each, "all"),
            }
        taken = self._in_turn("deliveries", turns)
        figures: list[Figure] = []
        for count in SUBSCRIPTIONS:
            bare, none, logged = (taken[f"{count} {what}"] for what in ("bare", "none", "all"))
            of = _of(count)
            figures += [
                Figure(f"bare loop, {of}", _rates(bare), "{:,.0f} /s"),
                Figure(f"relay, {of}", _rates(none), "{:,.0f} /s"),
                ratio(f"relay ÷ bare, {of}", _rates(none), _rates(bare), MIN_RATIO),
                ratio(f"relay with log ÷ bare, {of}", _rates(logged), _rates(bare), MIN_RATIO),
                ratio(f"processor, bare ÷ relay, {of}", _cpu(bare), _cpu(none)),
                ratio(f"processor, bare ÷ relay with log, {of}", _cpu(bare), _cpu(logged)),
                Figure(f"WAL per delivery, {of}", _wal(none), "{:.2f} B", at_most(5)),
                Figure(f"WAL per delivery with log, {of}", _wal(logged), "{:.0f} B", at_most(120)),
            ]
        return Section(
            "Deliveries",
            figures,
            f"{deliveries:,} signed requests of 500 bytes, shared out over the subscriptions; "
            f"1,000 groups; {drain.CONCURRENCY} in flight for each subscription, on both sides; "
            "one process for all endpoints, which answer at once. The relay's clock runs from the "
            "fill's commit to the last checkpoint, with attempts_log none or all. Processor time "
            "is the sending process's own.",
        )

    def _tls(self) -> Section:
        arena, connection, deliveries = self._arena, self._connection, self._sizes.deliveries
        turns: dict[str, Callable[[], Turn]] = {}
        for count in SUBSCRIPTIONS:
            sent = (arena, connection, count, deliveries)
            turns |= {
                f"{count} bare": partial(drain.by_bare_loop, *sent, secure=True),
                f"{count} relay": partial(drain.by_relay, *sent, "none", secure=True),
            }
        taken = self._in_turn("deliveries over TLS", turns)
        figures: list[Figure] = []
        for count in SUBSCRIPTIONS:
            bare, relay = taken[f"{count} bare"], taken[f"{count} relay"]
            of = _of(count)
            figures += [
                Figure(f"bare loop, {of}", _rates(bare), "{:,.0f} /s"),
                Figure(f"relay, {of}", _rates(relay), "{:,.0f} /s"),
                ratio(f"relay ÷ bare, {of}", _rates(relay), _rates(bare), MIN_SECURE_RATIO),
                ratio(f"processor, bare ÷ relay, {of}", _cpu(bare), _cpu(relay)),
            ]
        return Section(
            "Deliveries over TLS",
            figures,
            "the same, without the log of attempts; both sides believe an authority that was made "
            "for this, and check the certificate. With 1 and 10 subscriptions the connections are "
            "open before the clock runs, with 100 most are opened while it does.",
        )

    def _slots(self) -> Section:
        arena, connection, seconds = self._arena, self._connection, self._sizes.slot_seconds
        taken = self._in_turn(
            "slots",
            {
                "bare": lambda: slots.by_bare_loop(arena, connection, seconds),
                "relay": lambda: slots.by_relay(arena, connection, seconds),
            },
        )
        return Section(
            "Slots used, endpoints of 150 to 450 ms",
            [
                Figure("bare loop", taken["bare"], "{:.3f}"),
                Figure("relay", taken["relay"], "{:.3f}"),
                ratio("relay ÷ bare", taken["relay"], taken["bare"], 0.95),
            ],
            f"time that requests are with the endpoint, of {drain.CONCURRENCY} slots times the "
            "time, without the first and the last second.",
        )

    def _latency(self) -> Section:
        figures: list[Figure] = []
        for rate in self._sizes.rates:
            for count in SUBSCRIPTIONS:
                self._tell(f"latency at {rate:,} deliveries/s: {_of(count)}")
                times = latency.measure(
                    self._arena, self._connection, count, rate, self._sizes.seconds
                )
                figures += [
                    Figure(f"{rate:,}/s, {_of(count)}, p{p}", [percentile(times, p)], "{:.1f} ms")
                    for p in (50, 99)
                ]
        return Section(
            "Commit → request",
            figures,
            "from the answer to the writer's commit until the endpoint has the whole request; "
            "deliveries a second over all subscriptions: each message goes to each of them at "
            "once; one clock, the machine's, for both.",
        )

    def _isolation(self) -> Section:
        arena, connection, seconds = self._arena, self._connection, self._sizes.isolation_seconds

        def turn(disturbance: Disturbance) -> Callable[[], isolation.Turn]:
            return partial(isolation.turn, arena, connection, seconds, disturbance)

        turns = {"alone": turn(isolation.undisturbed)}
        turns |= {what: turn(each) for what, each in isolation.DISTURBANCES.items()}
        with isolation.served(arena, connection):
            taken = self._in_turn("isolation", turns, self._sizes.isolation_rounds)
        alone = [one.p99 for one in taken["alone"]]
        figures = [
            Figure("p50, undisturbed", [one.p50 for one in taken["alone"]], "{:.1f} ms"),
            Figure("p99, undisturbed", alone, "{:.1f} ms"),
        ]
        for what in isolation.DISTURBANCES:
            p99s = [one.p99 for one in taken[what]]
            ratios = [a / b for a, b in zip(p99s, alone, strict=True)]
            figures += [
                Figure(f"p99 beside one that {what}", p99s, "{:.1f} ms"),
                Figure("  ÷ undisturbed", ratios, "{:.2f}", at_most(1.2)),
            ]
        beside = [one for what in isolation.DISTURBANCES for one in taken[what]]
        left = [one.left for one in taken["is far behind"]]
        figures += [
            Figure("still before the one that is far behind", left, "{:,.0f}"),
            _rows("delivery rows of the healthy, undisturbed", taken["alone"]),
            _rows("  beside another", beside),
            Figure("delivery rows of the other", [sum(one.other_rows for one in beside)], "{:.0f}"),
        ]
        return Section(
            f"{isolation.HEALTHY} healthy beside one that is not",
            figures,
            f"commit → request, of the healthy alone; {isolation.DELIVERIES} deliveries a second, "
            f"each message to all; turns of {seconds} s by one relay. One hangs: takes requests "
            "and never answers, its timeout 2 s; is slow: 150 to 450 ms; fails every second "
            "request; no breaker of those opens. One works off a backlog of "
            f"{isolation.BEHIND:,}, in a log that the others have passed; one is paused and "
            "resumed every second.",
        )

    def _growth(self) -> Section:
        arena, connection, sizes = self._arena, self._connection, self._sizes
        count = sizes.deliveries
        names = {
            "open breaker": f"{sizes.backlog:,} behind an open breaker",
            "rows": f"{sizes.rows:,} delivery rows",
            "snapshot": "old snapshot held",
        }
        taken = self._in_turn(
            "growth",
            {
                "plain": lambda: growth.plain(arena, connection, count),
                "open breaker": lambda: growth.breaker(arena, connection, count, sizes.backlog),
                "rows": lambda: growth.rows(arena, connection, count, sizes.rows),
                "snapshot": lambda: growth.snapshot(arena, connection, count),
            },
        )
        plain = [one.turn for one in taken["plain"]]
        figures = [
            Figure("with nothing about", _rates(plain), "{:,.0f} /s"),
            Figure("empty poll", [one.poll_milliseconds for one in taken["plain"]], "{:.2f} ms"),
        ]
        for name, title in names.items():
            turns = [one.turn for one in taken[name]]
            polls = [one.poll_milliseconds for one in taken[name]]
            figures += [
                ratio(f"{title} ÷ without", _rates(turns), _rates(plain), 0.9),
                ratio("  processor, without ÷ with", _cpu(plain), _cpu(turns)),
                Figure("  WAL per delivery", _wal(turns), "{:.2f} B", at_most(5)),
                Figure("  empty poll", polls, "{:.2f} ms"),
            ]
        return Section(
            "What lies about",
            figures,
            f"{count:,} deliveries of one subscription, without the log of attempts. The breaker "
            "is another subscription's; the rows are its own: groups of "
            f"{growth.ROWS_PER_GROUP}, one message given up and parked, the others behind it.",
        )


def _rows(name: str, turns: list[isolation.Turn]) -> Figure:
    return Figure(name, [sum(one.healthy_rows for one in turns)], "{:.0f}", at_most(0))


def _of(count: int) -> str:
    return "1 subscription" if count == 1 else f"{count} subscriptions"


def _rates(turns: list[Turn]) -> list[float]:
    return [one.deliveries_per_second for one in turns]


def _cpu(turns: list[Turn]) -> list[float]:
    return [one.cpu_microseconds for one in turns]


def _wal(turns: list[Turn]) -> list[float]:
    return [one.wal_bytes for one in turns]
