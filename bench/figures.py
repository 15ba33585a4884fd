"""One table: what was measured, what it should be, and whether it is."""

import statistics
from collections.abc import Sequence

import msgspec
from rich.table import Table


class Target(msgspec.Struct, frozen=True):
    """A bound that the median has to keep, its own value allowed."""

    bound: float
    is_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.is_least else value <= self.bound


def at_least(bound: float) -> Target:
    return Target(bound, is_least=True)


def at_most(bound: float) -> Target:
    return Target(bound, is_least=False)


class Figure(msgspec.Struct, frozen=True):
    """`values` holds one for each round; `form` is the format of a value, its unit included."""

    name: str
    values: Sequence[float]
    form: str
    target: Target | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def misses(self) -> bool:
        """Whether it has a target that its median does not keep."""
        return self.target is not None and not self.target.met(self.median)


class Section(msgspec.Struct, frozen=True):
    """Figures that were taken together, and in one sentence how."""

    title: str
    figures: Sequence[Figure]
    note: str


def ratio(
    name: str, dividends: Sequence[float], divisors: Sequence[float], least: float | None = None
) -> Figure:
    """Round by round, so that what slows a whole round down counts for nothing."""
    ratios = [a / b for a, b in zip(dividends, divisors, strict=True)]
    return Figure(name, ratios, "{:.2f}", None if least is None else at_least(least))


def table(sections: Sequence[Section]) -> Table:
    """Medians, with the lowest and the highest where there is more than one value."""
    made = Table(title_justify="left", header_style="bold")
    for column in ("figure", "measured", "min to max", "target", "met?"):
        made.add_column(column, justify="left" if column == "figure" else "right", no_wrap=True)
    for section in sections:
        made.add_row(f"[bold]{section.title}[/bold]")
        for figure in section.figures:
            made.add_row(*_cells(figure))
        made.add_section()
    return made


def _cells(figure: Figure) -> list[str]:
    spread = ""
    if len(figure.values) > 1:
        spread = " to ".join(figure.form.format(f(figure.values)) for f in (min, max))
    cells = ["  " + figure.name, figure.form.format(figure.median), spread]
    if figure.target is None:
        return cells
    sign = "≥" if figure.target.is_least else "≤"
    bound = f"{sign} {figure.form.format(figure.target.bound)}"
    return [*cells, bound, "[red]no[/red]" if figure.misses else "[green]yes[/green]"]
