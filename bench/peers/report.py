"""The comparison as a table, and in which columns a peer is ahead of this relay."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
from rich.table import Table

from bench.peers.turn import RATE, Drain, Measured

MEBIBYTE = 1 << 20
# Of the rate asked for: below it, a latency is that of a queue that grows.
KEPT_UP = 0.95
# Differences smaller than this share are noise of the machine.
NOISE = 0.05


class Column(msgspec.Struct, frozen=True):
    """One figure of each candidate, None where it has none."""

    title: str
    form: str
    value: Callable[[Measured], float | None]
    more_is_better: bool = False


def _rate(drains: Sequence[Drain]) -> float | None:
    if not drains:
        return None
    return statistics.median(drain.messages / drain.seconds for drain in drains)


def _per_message(amount: Callable[[Drain], float]) -> Callable[[Measured], float]:
    return lambda measured: statistics.median(
        amount(drain) / drain.messages for drain in measured.drains
    )


def _latency(percent: int) -> Callable[[Measured], float | None]:
    def value(measured: Measured) -> float | None:
        return None if measured.latency is None else measured.latency.percentile(percent)

    return value


def _mebibytes(measured: Measured) -> float | None:
    return measured.peak_memory_bytes and measured.peak_memory_bytes / MEBIBYTE


COLUMNS = (
    Column("drain /s", "{:,.0f}", lambda measured: _rate(measured.drains), more_is_better=True),
    Column("held /s", "{:,.0f}", lambda measured: _rate(measured.held), more_is_better=True),
    Column("p50 ms", "{:,.1f}", _latency(50)),
    Column("p99 ms", "{:,.1f}", _latency(99)),
    Column("relay CPU", "{:,.2f}", _per_message(lambda drain: drain.relay_seconds * 1e6)),
    Column("PG CPU", "{:,.2f}", _per_message(lambda drain: drain.postgres_seconds * 1e6)),
    Column("WAL B", "{:,.1f}", _per_message(lambda drain: drain.wal_bytes)),
    Column("peak MiB", "{:,.0f}", _mebibytes),
)
NOTE = (
    "Drain: messages a second, from the commit of the transaction that wrote the whole backlog "
    "until a read_committed consumer can read the last message, all of them found there once at "
    "least; held: the same while another session holds an older snapshot. Latency: from the "
    f"answer to a commit to a consumer's poll, {RATE:,} transactions of one message a second. "
    "CPU: seconds of the relay's processes and of all of Postgres per million messages; WAL: "
    "bytes that the whole server wrote per message, wal_level=logical, autovacuum off; both over "
    "a drain and the second after it. Memory: the most that the relay's processes ever held. "
    "Medians of the rounds; backlogs of slow candidates are shorter."
)


def table(results: Mapping[str, Measured | str]) -> Table:
    """A row for each candidate; one that failed has its reason below, not here."""
    made = Table(header_style="bold")
    made.add_column("", no_wrap=True)
    for title in ("backlog", *(column.title for column in COLUMNS)):
        made.add_column(title, justify="right")
    for name, measured in results.items():
        if isinstance(measured, str):
            made.add_row(name, "[red]failed[/red]")
            continue
        cells = [_cell(column, measured) for column in COLUMNS]
        made.add_row(name, f"{measured.drains[0].messages:,}", *cells)
    return made


def _cell(column: Column, measured: Measured) -> str:
    value = column.value(measured)
    return "-" if value is None else column.form.format(value)


def short_of_rate(results: Mapping[str, Measured | str]) -> list[str]:
    """A sentence for each candidate whose latencies are not those of the rate asked for."""
    found = []
    for name, measured in results.items():
        latency = None if isinstance(measured, str) else measured.latency
        if latency is None:
            continue
        if latency.written_rate < KEPT_UP * RATE:
            found.append(
                f"{name} was asked for less than {RATE:,}/s: its writers reached "
                f"{latency.written_rate:,.0f}/s."
            )
        if latency.arrived_rate < KEPT_UP * latency.written_rate:
            found.append(
                f"{name} does not keep up with {latency.written_rate:,.0f}/s: it reached "
                f"{latency.arrived_rate:,.0f}/s, and its latency is the length of its queue."
            )
    return found


def ahead(results: Mapping[str, Measured | str], ours: str, peers: Iterable[str]) -> list[str]:
    """A sentence for each column in which a peer is better than the row `ours`, beyond noise."""
    base = results.get(ours)
    if base is None or isinstance(base, str):
        return []
    found = []
    for column in COLUMNS:
        own = column.value(base)
        for name in peers:
            measured = results.get(name)
            if measured is None or isinstance(measured, str) or own is None:
                continue
            value = column.value(measured)
            if value is not None and _is_better(value, own, column.more_is_better):
                form = column.form
                found.append(
                    f"{name} is ahead in {column.title}: {form.format(value)} against "
                    f"{form.format(own)} of {ours}."
                )
    return found


def _is_better(value: float, own: float, more_is_better: bool) -> bool:
    return value > own * (1 + NOISE) if more_is_better else value < own * (1 - NOISE)
