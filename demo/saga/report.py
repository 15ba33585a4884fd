"""The reckoning on paper."""

from rich.console import Console

from demo.report import deliveries, promises
from demo.saga.reckoning import Reckoning


def show(console: Console, reckoning: Reckoning) -> None:
    """Prints what became of the messages and of the promises, and what went wrong on the way."""
    console.print(
        deliveries(
            "What each service committed, against what the other applied",
            "channel",
            reckoning.deliveries,
        ),
        promises(reckoning.promises),
    )
    console.print(
        "On the way, to no effect: "
        + "; ".join(f"{what} {count}" for what, count in reckoning.troubles.items())
        + ".",
        highlight=False,
    )
