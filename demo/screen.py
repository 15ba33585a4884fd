"""The screen of a demo, a terminal's or plain lines, and the panels that both demos have."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.performance import Performance
from demo.processes import Processes

LINE_INTERVAL_SECONDS = 2.0


S = TypeVar("S", bound=Performance)


@contextmanager
def screen(
    console: Console, draw: Callable[[S], RenderableType], line: Callable[[S], str]
) -> Iterator[Callable[[S], None]]:
    """What to call with the scene: it draws, or, without a terminal, prints a line now and then."""
    if not console.is_terminal:
        yield _lines(console, line)
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda scene: live.update(draw(scene), refresh=True)


def _lines(console: Console, line: Callable[[S], str]) -> Callable[[S], None]:
    next_at = 0.0

    def show(scene: S) -> None:
        nonlocal next_at
        if scene.seconds >= next_at:
            next_at = scene.seconds + LINE_INTERVAL_SECONDS
            console.print(line(scene), highlight=False, soft_wrap=True)

    return show


def progress(scene: Performance, done: int) -> RenderableType:
    """How far it is."""
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column()
    row.add_column(ratio=1)
    row.add_column(justify="right")
    bar = ProgressBar(total=scene.orders, completed=done)
    row.add_row(f"{scene.seconds:4.1f} s", bar, f"{done} of {scene.orders} orders")
    return Panel(row, title="outbox relay", subtitle=scene.phase)


def columns(*headers: str) -> Table:
    """The first column to the left, the others to the right."""
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(header=Text(headers[0], style="dim"), no_wrap=True)
    for header in headers[1:]:
        table.add_column(header=Text(header, style="dim"), justify="right", no_wrap=True)
    table.show_header = any(headers)
    return table


def processes(company: Processes, *, height: int) -> RenderableType:
    """Who is up, and how often each was killed."""
    table = columns("process", "", "kill -9")
    for name, kills in company.kills.items():
        down = name in company.down
        state = Text("killed", style="bold red") if down else Text("up", style="green")
        table.add_row(name, state, str(kills))
    return Panel(table, title="processes", height=height)


def latest(scene: Performance) -> RenderableType:
    """The latest events."""
    return Panel("\n".join(scene.news), title="lately", height=5)
