"""The table: every cell's medians, and beneath each dimension what it has to keep."""

import statistics
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from rich import box
from rich.table import Table

from bench.figures import Target, at_least, at_most
from bench.growth.dimensions import Cell
from bench.growth.turn import Turn

RATE, MEMORY, POLL = "messages_per_second", "peak_memory_mebibytes", "poll_milliseconds"
LOCKS = "poll_locks"
TITLES = {
    "backlog": "backlog",
    "retained": "retained, delivered",
    "retention": "retention, days",
    "subscriptions": "subscriptions",
    "groups": "groups",
    "transactions": "open transactions",
    "delivery": "delivery",
}
# Heading and format; what a cell shows is the median of its turns.
COLUMNS = {
    RATE: ("messages/s", "{:,.0f}"),
    "relay_cpu_microseconds": ("relay µs", "{:.2f}"),
    "postgres_cpu_microseconds": ("Postgres µs", "{:.2f}"),
    MEMORY: ("relay MiB", "{:.0f}"),
    POLL: ("poll ms", "{:.2f}"),
    "poll_buffers": ("buffers", "{:.0f}"),
    LOCKS: ("locks", "{:.0f}"),
}
# Two turns of the very same thing differ by as much.
FLAT = at_most(1.25)
# By dimension and column: what the last cell may be as a share of the first.
SHARES = {
    "backlog": {RATE: at_least(0.9), MEMORY: FLAT},
    "retained": {POLL: FLAT},
    "retention": {POLL: FLAT, LOCKS: at_most(1.0)},
    "delivery": {RATE: at_least(0.9)},
}
MAX_MEBIBYTES = at_most(200)


def median(turns: Iterable[Turn], field: str) -> float:
    """The median of one field of a cell's turns."""
    return float(statistics.median(getattr(turn, field) for turn in turns))


def table(cells: Sequence[Cell]) -> Table:
    """Processor time is per message; what a dimension has to keep stands beneath it."""
    made = Table(header_style="bold", box=box.SIMPLE_HEAD)
    made.add_column("", no_wrap=True)
    for heading in [*(heading for heading, _ in COLUMNS.values()), "from to", "target"]:
        made.add_column(heading, justify="right", no_wrap=True)
    for dimension, group in groupby(cells, attrgetter("dimension")):
        found = list(group)
        made.add_row(f"[bold]{TITLES[dimension]}[/bold]")
        for cell in found:
            made.add_row("  " + cell.label, *_medians(cell), _spread(cell))
        for field, target in SHARES.get(dimension, {}).items():
            first, last = (median(cell.turns, field) for cell in (found[0], found[-1]))
            made.add_row(*_verdict("last ÷ first", field, last / first, target, "{:.2f}"))
        if dimension == "backlog":
            peak = max(median(cell.turns, MEMORY) for cell in found)
            made.add_row(*_verdict("highest", MEMORY, peak, MAX_MEBIBYTES, "{:.0f}"))
        made.add_section()
    return made


def _medians(cell: Cell) -> list[str]:
    return [form.format(median(cell.turns, field)) for field, (_, form) in COLUMNS.items()]


def _spread(cell: Cell) -> str:
    rates = [turn.messages_per_second for turn in cell.turns]
    return " to ".join(f"{f(rates):,.0f}" for f in (min, max)) if len(rates) > 1 else ""


def _verdict(name: str, field: str, value: float, target: Target, form: str) -> list[str]:
    """A row with one value, in the column that it is about."""
    values = [form.format(value) if one == field else "" for one in COLUMNS]
    sign = "≥" if target.is_least else "≤"
    met = "[green]yes[/green]" if target.met(value) else "[red]no[/red]"
    return [f"  [dim]{name}[/dim]", *values, "", f"{sign} {form.format(target.bound)} {met}"]
