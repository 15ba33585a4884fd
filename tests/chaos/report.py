"""A campaign on paper: what each fault cost, and whether every promise was kept."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tests.chaos.campaign import Played, Result
from tests.chaos.checker import PROMISES, REPEATED, Verdict
from tests.chaos.connectors import FIFO
from tests.chaos.pauses import Injected, alone, longest_pause
from tests.chaos.plan import FAULTS
from tests.chaos.transients import DELETE, PAUSE, RESUME, SHARES


def show(console: Console, result: Result) -> None:
    """Prints both tables, what was broken with examples, and the verdict."""
    console.print(_faults(result.played), _promises(result.verdicts), _transients(result))
    for verdict in (*result.verdicts, *result.transients.values()):
        for promise, examples in verdict.examples.items():
            for example in examples:
                line = f"{verdict.subscription}: {promise}: {example}"
                console.print(line, style="red", markup=False, highlight=False)
    for fault in result.faults:
        console.print(fault, style="red", markup=False, highlight=False)
    played, kept = result.played, result.right
    console.print(
        f"{'Every promise kept' if kept else 'BROKEN PROMISES'}: {played.transactions} "
        f"transactions, {len(played.paid)} orders paid, {len(played.injected)} faults, "
        f"{played.kills} kills -9, drained {played.drain_seconds:.1f} s after the last fault, "
        f"{result.seconds:.0f} s in all, seed {result.orders.seed}.",
        style="bold green" if kept else "bold red",
        highlight=False,
    )


def _faults(played: Played) -> Table:
    table = Table(
        title="Longest pause in delivery around each fault, seconds",
        caption="At any time, and among those faults beside which no other was on.",
    )
    table.add_column("fault", no_wrap=True)
    columns = [
        "injected",
        "missed",
        "kills",
        *played.beats,
        "alone",
        *(f"{name}, alone" for name in played.beats),
    ]
    for column in columns:
        table.add_column(column, justify="right")
    for name, fault in FAULTS.items():
        injected = [one for one in played.injected if one.fault == name]
        missed = played.missed.count(name)
        if injected or missed:
            pauses = {one: _pauses(played, one) for one in injected}
            quiet = [one for one in injected if alone(one, played.injected, max(pauses[one]))]
            table.add_row(
                name,
                str(len(injected)),
                str(missed),
                str(len(injected) * fault.kills),
                *_longest([pauses[one] for one in injected], len(played.beats)),
                str(len(quiet)),
                *_longest([pauses[one] for one in quiet], len(played.beats)),
            )
    return table


def _pauses(played: Played, injected: Injected) -> list[float]:
    """Of each subscription, in the group that waited longest."""
    return [
        max(
            longest_pause(group, injected, played.write_pauses, played.until)
            for group in groups or [[]]
        )
        for groups in played.beats.values()
    ]


def _longest(pauses: Sequence[Sequence[float]], columns: int) -> list[str]:
    if not pauses:
        return ["-"] * columns
    return [f"{max(column):.2f}" for column in zip(*pauses, strict=True)]


def _promises(verdicts: Sequence[Verdict]) -> Table:
    table = Table(
        title="What was promised",
        caption=f"{FIFO}: once between two kills of the queue's server, which forgets what it had; "
        "what came again after one is among the repeats.",
    )
    table.add_column("", no_wrap=True)
    for verdict in verdicts:
        mode = "exactly once" if verdict.exactly_once else "at least once"
        table.add_column(f"{verdict.subscription}, {mode}", justify="right")
    for name, figures in {
        "committed": [verdict.committed for verdict in verdicts],
        "delivered": [verdict.delivered for verdict in verdicts],
        "dead letters, as expected": [verdict.dead_letters for verdict in verdicts],
        "repeats, same key and content": [verdict.repeats for verdict in verdicts],
    }.items():
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    table.add_section()
    for promise in PROMISES:
        table.add_row(promise, *(_broken(verdict, promise) for verdict in verdicts))
    return table


def _transients(result: Result) -> Table:
    done = result.played.turnover
    table = Table(
        title="Subscriptions that came and went",
        caption=f"{done[PAUSE]} times one was paused, {done[RESUME]} times resumed; "
        f"{done[DELETE]} were deleted with all that was pending.",
    )
    table.add_column("", no_wrap=True)
    for kind in SHARES:
        table.add_column(f"{kind}, at least once", justify="right")
    verdicts = [
        [verdict for one, verdict in result.transients.items() if one.kind == kind]
        for kind in SHARES
    ]
    for name, figures in {
        "lived": [len(those) for those in verdicts],
        "messages owed": [sum(each.committed for each in those) for those in verdicts],
        "delivered": [sum(each.delivered for each in those) for those in verdicts],
        "dead letters, as expected": [
            sum(each.dead_letters for each in those) for those in verdicts
        ],
        "repeats, same key and content": [
            sum(each.repeats for each in those) for those in verdicts
        ],
    }.items():
        table.add_row(name, *(f"{figure:,}" for figure in figures))
    table.add_section()
    for promise in PROMISES:
        if promise != REPEATED:
            counts = [sum(each.broken.get(promise, 0) for each in those) for those in verdicts]
            table.add_row(promise, *map(_count, counts))
    return table


def _broken(verdict: Verdict, promise: str) -> Text:
    if promise == REPEATED and not verdict.exactly_once:
        return Text("-")
    return _count(verdict.broken.get(promise, 0))


def _count(count: int) -> Text:
    return Text(f"{count:,}", style="bold red" if count else "green")
