"""The live panel on a terminal, a line elsewhere."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.saga.gauges import Gauges
from demo.saga.messages import KAFKA, ROUTES
from demo.saga.scene import Scene
from demo.saga.steps import PIVOT, STEPS
from demo.screen import columns, latest, processes, progress

ENDS = {"delivered": "green", "undone": "magenta"}
# The history's events that are no plain progress, and what a reader calls them.
TROUBLES = {
    "refused": "refused: sold out, declined, closed",
    "timed out": "timed out",
    "late": "replies that came late, or again",
    "failed": "compensations that failed, tried again",
    "cancelled": "cancelled by customers in time",
    "cancel refused": "cancelled too late",
}


def line(scene: Scene) -> str:
    """The scene in one line."""
    gauges = scene.gauges
    if gauges is None:
        return f"{scene.seconds:5.1f} s  {scene.phase}"
    events = "  ".join(f"{name} {gauges.events.get(name, 0)}" for name in TROUBLES)
    return (
        f"{scene.seconds:5.1f} s  ended {gauges.ended}/{scene.orders}"
        f"  forward {gauges.in_state('forward')}  backward {gauges.in_state('backward')}"
        f"  {events}  tombstones {gauges.tombstones}  repeated {gauges.repeated}"
        f"  kills {sum(scene.fleet.kills.values())}"
    )


def draw(scene: Scene) -> RenderableType:
    """The scene for a terminal of 100 by 35."""
    gauges = scene.gauges
    if gauges is None:
        return Panel(f"{scene.phase} …", title="outbox relay: a saga", height=3)
    body = Table.grid(expand=True)
    body.add_column(ratio=1)
    body.add_column(ratio=1)
    body.add_row(_sagas(gauges), _troubles(gauges))
    body.add_row(_hops(gauges), processes(scene.fleet, height=12))
    return Group(progress(scene, gauges.ended), body, latest(scene))


def _sagas(gauges: Gauges) -> RenderableType:
    table = columns("step", "forward", "", "backward")
    table.columns[1].justify = table.columns[2].justify = "left"
    for step in STEPS:
        forward = gauges.sagas.get(("forward", step.name), 0)
        backward = gauges.sagas.get(("backward", step.name), 0)
        name = f"{step.name} (pivot)" if step.name == PIVOT else step.name
        bar = Text("█" * min(forward, 14), style="cyan") + Text(f" {forward}")
        back = Text("█" * min(backward, 10), style="yellow") + Text(f" {backward}")
        table.add_row(name, bar, "", back)
    for state, style in ENDS.items():
        count = Text(str(gauges.in_state(state)), style=f"bold {style}")
        table.add_row(Text(state, style=style), count, "", "")
    return Panel(table, title="orders", height=9)


def _troubles(gauges: Gauges) -> RenderableType:
    table = columns("", "")
    for event, words in TROUBLES.items():
        table.add_row(words, str(gauges.events.get(event, 0)))
    table.add_row("compensations that came first: tombstones", str(gauges.tombstones))
    return Panel(table, title="what went wrong", height=9)


def _hops(gauges: Gauges) -> RenderableType:
    table = columns("channel", "by", "sent", "came")
    for channel in ROUTES:
        hop = gauges.hops[channel]
        way = "Kafka" if channel in KAFKA else "webhook"
        table.add_row(channel, way, str(hop.committed), str(hop.applied))
    table.add_row("known already, and ignored", "", "", str(gauges.repeated))
    return Panel(table, title="messages", height=12)
