"""The reckoning on paper."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from demo.comparison import Delivery, Promise
from demo.consumers import inventory
from demo.fleet import FORGETFUL
from demo.pushed import Pushed
from demo.reckoning import Reckoning
from demo.subscriptions import CHANNEL, FAILING, REFUSING


def show(console: Console, reckoning: Reckoning) -> None:
    """Prints what became of the messages, at Kafka and at the subscribers, and of the promises."""
    pushed = reckoning.pushed
    console.print(
        deliveries(
            "What was committed, against the topics read to their end",
            "channel",
            reckoning.deliveries,
        ),
        deliveries(
            f"{CHANNEL} as signed webhooks, against what each subscriber wrote down",
            "subscriber",
            pushed.deliveries,
        ),
        deliveries(
            f"{inventory.CHANNEL} by connectors, against what is there, read to the end",
            "connector",
            reckoning.bridged.deliveries,
        ),
        promises([*reckoning.promises, *pushed.promises, *reckoning.bridged.promises]),
    )
    ignored = ", ".join(f"{count} by {name}" for name, count in reckoning.ignored.items())
    console.print(
        f"Repeats that came to the consumers and changed nothing: {ignored} ({FORGETFUL} lost its "
        f"offsets on the way). Messages that were rolled back: {reckoning.rolled_back}.",
        highlight=False,
    )
    for sentence in _sentences(pushed):
        console.print(sentence, highlight=False)


def deliveries(title: str, place: str, found: Iterable[Delivery]) -> Table:
    """What became of the messages of each place."""
    table = Table(title=title)
    table.add_column(place, no_wrap=True)
    headers = ("committed", "delivered", "repeated", "lost", "out of order", "rolled back, seen")
    for header in headers:
        table.add_column(header, justify="right")
    for each in found:
        faults = (each.lost, each.out_of_order, each.uncommitted)
        table.add_row(
            each.name,
            *(str(number) for number in (each.committed, each.delivered, each.repeated)),
            *(Text(str(fault), style="bold red" if fault else "green") for fault in faults),
        )
    return table


def promises(made: Iterable[Promise]) -> Table:
    """What must be so, and is."""
    table = Table(title="What must be, against what is")
    table.add_column("promise", no_wrap=True)
    for header in ("must be", "is", ""):
        table.add_column(header, justify="right")
    for each in made:
        verdict = Text("✓", style="green") if each.right else Text("WRONG", style="bold red")
        table.add_row(each.what, _number(each.expected), _number(each.actual), verdict)
    return table


def _sentences(pushed: Pushed) -> list[str]:
    """The outages and the poisoned order."""
    medians = ", ".join(
        f"{name} {1000 * seconds:.0f} ms" for name, seconds in pushed.medians.items()
    )
    refused = ", ".join(f"{count} by {name}" for name, count in pushed.refused.items() if count)
    return [
        *(
            f"{FAILING}'s breaker opened at {_time(outage.opened_at)} and closed at "
            f"{_time(outage.closed_at)} ({outage.seconds:.1f} s)."
            for outage in pushed.outages
        ),
        f"Meanwhile {FAILING} got {pushed.probes} probes; from commit to answer the others took, "
        f"in the median: {medians}.",
        f"Webhooks that were refused: {refused}. What {REFUSING} gave up was redriven when it was "
        "repaired.",
    ]


def _time(at: datetime | None) -> str:
    return "no time" if at is None else at.time().isoformat("milliseconds")


def _number(value: int | Decimal) -> str:
    return f"{value:,.2f}" if isinstance(value, Decimal) else f"{value:,}"
