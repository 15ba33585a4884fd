"""Small multiples: a column for each dimension, a row for each thing that should stay flat."""

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.growth.dimensions import Cell
from bench.growth.report import MEMORY, POLL, RATE, TITLES, median

ROWS = {
    RATE: "messages/s ÷ first",
    POLL: "empty poll, ms",
    MEMORY: "relay's peak memory, MiB",
}
PANEL_INCHES = (2.6, 2.1)
LINE = "#1f5c99"
EVEN = "#bbbbbb"


def write(cells: Sequence[Cell], path: Path) -> bool:
    """An SVG; False where no dimension with sizes was measured.

    Raises OSError where `path` can't be written.
    """
    # How messages are delivered is no size.
    sized = [cell for cell in cells if cell.dimension != "delivery"]
    columns = {name: list(group) for name, group in groupby(sized, attrgetter("dimension"))}
    if not columns:
        return False
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(columns), height * len(ROWS)), layout="constrained")
    panels = figure.subplots(len(ROWS), len(columns), sharex="col", sharey="row", squeeze=False)
    for row, (field, name) in enumerate(ROWS.items()):
        for column, (dimension, found) in enumerate(columns.items()):
            panel = panels[row][column]
            _draw(panel, found, field)
            if row == 0:
                panel.set_title(TITLES[dimension], fontsize=9)
            if column == 0:
                panel.set_ylabel(name, fontsize=8)
        _scale(panels[row][0], sized, field)
    figure.savefig(path, format="svg")
    return True


def _draw(panel: Axes, cells: list[Cell], field: str) -> None:
    sizes = [cell.size for cell in cells]
    values = [median(cell.turns, field) for cell in cells]
    if field == RATE:
        values = [value / values[0] for value in values]
        panel.axhline(1, color=EVEN, linewidth=0.8)
    panel.plot(sizes, values, marker="o", markersize=4, color=LINE)
    # The first size may be none at all, which a logarithm does not reach.
    least = min((size for size in sizes if size), default=1)
    panel.set_xscale("symlog", linthresh=least)
    panel.set_xticks(sizes, [_short(size) for size in sizes])
    panel.minorticks_off()
    panel.tick_params(labelsize=8)
    panel.spines[["top", "right"]].set_visible(False)


def _scale(panel: Axes, cells: Sequence[Cell], field: str) -> None:
    """The scale of a row, which its panels share: from zero where a difference is the news."""
    values = [median(cell.turns, field) for cell in cells]
    if field == POLL:
        panel.set_yscale("log")
        panel.set_ylim(min(values) / 2, max(values) * 2)
    else:
        panel.autoscale(axis="y")
        panel.set_ylim(bottom=0)


def _short(size: int) -> str:
    if size >= 1_000_000:
        return f"{size // 1_000_000} M"
    return f"{size // 1000} k" if size >= 1000 else str(size)
