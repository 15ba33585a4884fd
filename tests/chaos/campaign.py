"""One campaign: writers write, faults strike, the backlog drains, and all is held to account."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psycopg

from tests.chaos import plan, source, transients, turnover
from tests.chaos.checker import Verdict
from tests.chaos.faults import Faults
from tests.chaos.heartbeat import Heart, Watcher
from tests.chaos.injector import Injector, injectors
from tests.chaos.pauses import Injected
from tests.chaos.places import LATE, SUBSCRIPTIONS, Places, places
from tests.chaos.plan import Fault
from tests.chaos.queue import Consumer
from tests.chaos.reckoning import (
    judge,
    judge_beyond,
    judge_fifo,
    judge_inward,
    judge_transients,
    judge_webhooks,
    log_faults,
    read_log,
    webhook_faults,
)
from tests.chaos.source import Feeder
from tests.chaos.transients import Step, Transient
from tests.chaos.turnover import Turnover
from tests.chaos.write_pause import Interval, WritePause
from tests.chaos.writers import Shopper, Writer, set_up, writers

CUSTOMERS = 2
DRAIN_TIMEOUT_SECONDS = 90
# How long a thread may take to end what it is at: a server's start, a statement's timeout.
# A server that an injector starts again may take its whole start_timeout_seconds on a busy machine.
THREAD_TIMEOUT_SECONDS = 150
# Of the campaign, until the topic that was missing is made.
LATE_TOPIC_SHARE = 0.4
NEWS_SECONDS = 10.0
# So long the load goes on after the last fault is repaired.
SETTLED_SECONDS = 3.0

Tell = Callable[[str], None]


class Orders(NamedTuple):
    """What a campaign is asked for; it fails with fewer than `kills_at_least`."""

    seed: int
    seconds: float
    faults: Sequence[Fault]
    kills_at_least: int = 0


@dataclass
class Played:
    """What happened. `beats`: of each subscription, the times at which each group's heartbeats
    came, on the monotonic clock; `write_pauses`: when there were none to come; `until`: when
    the last of them could have come. `turnover`: how often what was done to transients."""

    injected: list[Injected]
    write_pauses: list[Interval]
    kills: int
    missed: list[str]
    beats: dict[str, list[list[float]]]
    until: float
    turnover: Counter[str]
    transactions: int
    paid: list[str]
    drain_seconds: float
    faults: list[str]


@dataclass
class Result:
    """What a campaign did and found. `faults`: what else was not as promised, a sentence each."""

    orders: Orders
    seconds: float
    played: Played
    verdicts: list[Verdict]
    transients: dict[Transient, Verdict]
    faults: list[str]

    @property
    def right(self) -> bool:
        """Whether every promise was kept."""
        verdicts = (*self.verdicts, *self.transients.values())
        return not self.faults and not any(verdict.broken for verdict in verdicts)


def run(orders: Orders, directory: Path, tell: Tell) -> Result:
    """The whole campaign over `directory`, which keeps data and logs; `tell` gets its progress.

    Raises StartError, KafkaException, TimeoutError and psycopg.Error where it can't be carried
    through to its end.
    """
    began = time.monotonic()
    steps = transients.plan(orders.seed, orders.seconds)
    those = transients.made_in(steps)
    tell("starting two Postgres servers, two Kafkas, a queue, the service, two relays, an endpoint")
    with places(directory) as here:
        set_up(here)
        turnover.set_up(here, those)
        cast = Cast(here, orders, steps, tell)
        try:
            played = cast.play()
        finally:
            cast.end()
        tell("reading every topic to its end")
        log = read_log(here)
        verdicts = [judge(here, subscription, log) for subscription in SUBSCRIPTIONS]
        verdicts += [
            each(here, log) for each in (judge_webhooks, judge_beyond, judge_fifo, judge_inward)
        ]
        passing = judge_transients(here, those, log)
        faults = [*played.faults, *log_faults(here, played.paid), *webhook_faults(here)]
    if played.kills < orders.kills_at_least:
        faults.append(f"{played.kills} kills where {orders.kills_at_least} were asked for")
    if not any(verdict.committed for verdict in passing.values()):
        faults.append("no subscription that came and went was owed anything")
    return Result(orders, time.monotonic() - began, played, verdicts, passing, faults)


@dataclass
class Cast:
    """The threads of a campaign: injectors of faults, writers, customers, turnover, watchers.

    And the feeder of what comes in, and the queue's consumer.
    """

    here: Places
    orders: Orders
    steps: Sequence[Step]
    tell: Tell
    # Set one after the other: no more faults, no more writing, nothing more to watch.
    faults_over: threading.Event = field(default_factory=threading.Event)
    writing_over: threading.Event = field(default_factory=threading.Event)
    watching_over: threading.Event = field(default_factory=threading.Event)
    write_pause: WritePause = field(default_factory=WritePause)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        here, orders = self.here, self.orders
        strikes = plan.plan(orders.seed, orders.seconds, orders.faults)
        self.watchers = [Watcher(here, one, self.watching_over) for one in SUBSCRIPTIONS]
        self.heart = Heart(here, self.write_pause, self.writing_over)
        self.writers = writers(here, orders.seed, self.write_pause, self.writing_over)
        self.customers = [
            Shopper(here, self.write_pause, self.writing_over) for _ in range(CUSTOMERS)
        ]
        self.feeder = Feeder(here, orders.seed, self.write_pause, self.writing_over)
        self.consumer = Consumer(here.queue, self.watching_over)
        self.turnover = Turnover(here, self.steps, self.write_pause, self.writing_over)
        faults = Faults(here, self.watchers, self.write_pause, self.tell, self.faults_over)
        self.late = threading.Thread(target=self._make_late_topics, name="late", daemon=True)
        self.injectors = injectors(here, strikes, faults, self.tell, self.faults_over)

    def end(self) -> None:
        """Stops all threads, so that none starts a program again while it is taken down."""
        for event in (self.faults_over, self.writing_over, self.watching_over):
            event.set()

    def play(self) -> Played:
        """From the first message to the last one delivered; the programs are stopped then."""
        self._start()
        self._last(self.orders.seconds)
        self.tell("no more faults: everything is repaired")
        self.faults_over.set()
        self._join(self.injectors)
        self._raise_failures()
        self._mend()
        # A beat after the last fault, so that its pause has an end.
        time.sleep(SETTLED_SECONDS)
        self.writing_over.set()
        self._join([self.heart, *self.writers, *self.customers, self.feeder, self.turnover])
        seconds = self._drain()
        until = time.monotonic()
        self.watching_over.set()
        self._join([*self.watchers, self.consumer])
        self._stop_programs()
        self.faults += [f"{each.name} saw none" for each in self.watchers if not each.arrivals]
        self.faults += [f"{each.name} paid for nothing" for each in self.customers if not each.paid]
        return Played(
            sorted((one for each in self.injectors for one in each.injected), key=_began),
            self.write_pause.intervals,
            sum(each.kills for each in self.injectors),
            [name for each in self.injectors for name in each.missed],
            {
                subscription.name: list(watcher.arrivals.values())
                for subscription, watcher in zip(SUBSCRIPTIONS, self.watchers, strict=True)
            },
            until,
            self.turnover.done,
            sum(writer.transactions for writer in self.writers),
            [order_id for customer in self.customers for order_id in customer.paid],
            seconds,
            [*self.faults, *(fault for each in self.injectors for fault in each.faults)],
        )

    def _start(self) -> None:
        cast: Sequence[threading.Thread] = [
            *self.watchers,
            self.heart,
            *self.writers,
            *self.customers,
            self.feeder,
            self.consumer,
            self.turnover,
            *self.injectors,
        ]
        for member in cast:
            member.start()

    def _last(self, seconds: float) -> None:
        """Until the time is over. On the way the topics that were missing are made."""
        began = time.monotonic()
        late_at: float | None = began + seconds * LATE_TOPIC_SHARE
        news_at = began + NEWS_SECONDS
        while (now := time.monotonic()) < began + seconds:
            if late_at is not None and now >= late_at:
                late_at = None
                # Kafka may be away just now, and the campaign goes on.
                self.late.start()
            if now >= news_at:
                news_at = now + NEWS_SECONDS
                self.tell(f"{now - began:.0f} s: {self._news()}")
            self._raise_failures()
            time.sleep(0.1)

    def _make_late_topics(self) -> None:
        """Where this fails, what waits for them stays pending, and that is seen."""
        self.here.make_topics(LATE)
        self.tell("the missing topics are made")

    def _raise_failures(self) -> None:
        """Raises what keeps one from going on: a server that does not come back, above all."""
        for injector in self.injectors:
            if injector.failure is not None:
                raise injector.failure

    def _news(self) -> str:
        transactions = sum(writer.transactions for writer in self.writers)
        kills = sum(each.kills for each in self.injectors)
        paid = sum(len(customer.paid) for customer in self.customers)
        return f"{transactions} transactions, {paid} orders paid, {kills} kills"

    def _join(
        self,
        threads: Sequence[
            Heart | Watcher | Writer | Shopper | Feeder | Consumer | Turnover | Injector
        ],
    ) -> None:
        """Waits for their ends; what ended one before its time is a fault."""
        deadline = time.monotonic() + THREAD_TIMEOUT_SECONDS
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
            if thread.is_alive():
                self.faults.append(f"{thread.name} does not end")
            if not isinstance(thread, Injector) and thread.fault is not None:
                self.faults.append(f"{thread.name} died: {thread.fault!r}")

    def _mend(self) -> None:
        """Each injector repairs what it broke; what ended by itself meanwhile is started again."""
        for name, program in self.here.programs.items():
            if not program.running:
                self.faults.append(f"{name} was not running in the end")
                program.launch()

    def _drain(self) -> float:
        """Seconds until nothing is pending; what stays so is a fault."""
        began = time.monotonic()
        self.tell("the backlog drains")
        while True:
            waiting = pending(self.here)
            seconds = time.monotonic() - began
            if not waiting:
                return seconds
            if seconds > DRAIN_TIMEOUT_SECONDS:
                self.faults += [f"still pending after {seconds:.0f} s: {line}" for line in waiting]
                return seconds
            time.sleep(0.25)

    def _stop_programs(self) -> None:
        for name, program in self.here.programs.items():
            status = program.stop()
            if status != 0:
                self.faults.append(f"{name} ended with {status} when it was told to stop")


PENDING_TIMEOUT = "set statement_timeout = '20s'"
PENDING = """
select concat_ws(' ', subscription, 'priority', priority, 'shard', shard, 'channel', channel,
                 messages, 'messages, the oldest of', oldest_at)
from outbox.cursor_backlog where messages > 0
union all
select concat_ws(' ', subscription, 'has rows:', untried, 'untried,', retrying, 'retrying,',
                 in_flight, 'in flight,', behind, 'behind')
from outbox.delivery_summary
"""


def pending(here: Places) -> list[str]:
    """What is still to be delivered or to enter, a line for each cursor or partition."""
    try:
        with here.connect() as session:
            session.execute(PENDING_TIMEOUT)
            waiting = [line for (line,) in session.execute(PENDING)]
            return [*waiting, *source.pending(here, session)]
    except psycopg.OperationalError as error:
        return [f"unknown: {error}"]


def _began(injected: Injected) -> float:
    return injected.began
