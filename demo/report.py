"""The reckoning on paper."""

from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.fleet import FORGETFUL
from demo.reckoning import Reckoning


def show(console: Console, reckoning: Reckoning) -> None:
    """Prints both tables: what became of the messages, and of what was promised."""
    console.print(_deliveries(reckoning), _promises(reckoning))
    ignored = ", ".join(f"{count} by {name}" for name, count in reckoning.ignored.items())
    console.print(
        f"Repeats that came to the consumers and changed nothing: {ignored} ({FORGETFUL} lost its "
        f"offsets on the way). Messages that were rolled back: {reckoning.rolled_back}.",
        highlight=False,
    )


def _deliveries(reckoning: Reckoning) -> Table:
    table = Table(title="What was committed, against the topics read to their end")
    table.add_column("channel", no_wrap=True)
    headers = ("committed", "delivered", "repeated", "lost", "out of order", "rolled back, seen")
    for header in headers:
        table.add_column(header, justify="right")
    for each in reckoning.deliveries:
        faults = (each.lost, each.out_of_order, each.uncommitted)
        table.add_row(
            each.channel,
            *(str(number) for number in (each.committed, each.delivered, each.repeated)),
            *(Text(str(fault), style="bold red" if fault else "green") for fault in faults),
        )
    return table


def _promises(reckoning: Reckoning) -> Table:
    table = Table(title="What must be, against what is")
    table.add_column("promise", no_wrap=True)
    for header in ("must be", "is", ""):
        table.add_column(header, justify="right")
    for each in reckoning.promises:
        verdict = Text("✓", style="green") if each.right else Text("WRONG", style="bold red")
        table.add_row(each.what, _number(each.expected), _number(each.actual), verdict)
    return table


def _number(value: int | Decimal) -> str:
    return f"{value:,.2f}" if isinstance(value, Decimal) else f"{value:,}"
