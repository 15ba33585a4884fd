"""The live panel on a terminal, plain lines elsewhere."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.connectors import CONNECTORS
from demo.consumers import inventory
from demo.gauges import Gauges
from demo.places import CHANNELS, CONSUMERS
from demo.scene import Scene
from demo.screen import columns, latest, processes, progress
from demo.subscriptions import CHANNEL, FAILING

STATUSES = {
    "DRAFT": "white",
    "PROCESSING": "cyan",
    "PARTIAL": "yellow",
    "COMPLETED": "green",
    "CANCELLED": "red",
}


def line(scene: Scene) -> str:
    """The scene in one line."""
    gauges = scene.gauges
    if gauges is None:
        return f"{scene.seconds:5.1f} s  {scene.phase}"
    return (
        f"{scene.seconds:5.1f} s  orders {scene.provider.calls.stories_done}/{scene.orders}"
        f"  webhooks {scene.provider.calls.webhooks}  log {sum(gauges.log.values())}"
        f"  backlog {gauges.backlog}  lag {gauges.lag_seconds:.2f} s"
        f"  topics {sum(gauges.topics.values())}"
        f"  pushed {'/'.join(str(each.delivered) for each in gauges.pushed.values())}"
        f"  {FAILING} {gauges.pushed[FAILING].breaker}"
        f"  bridged {'/'.join(str(each.delivered) for each in gauges.bridged.values())}"
        f"  kills {sum(scene.fleet.kills.values())}"
    )


def draw(scene: Scene) -> RenderableType:
    """The scene for a terminal of 100 by 35."""
    gauges = scene.gauges
    if gauges is None:
        return Panel(f"{scene.phase} …", title="outbox relay", height=3)
    body = Table.grid(expand=True)
    body.add_column(ratio=1)
    body.add_column(ratio=1)
    body.add_row(_orders(gauges), _flow(scene, gauges))
    body.add_row(_topics(gauges), processes(scene.fleet, height=10))
    done = scene.provider.calls.stories_done
    return Group(progress(scene, done), body, _subscribers(gauges), latest(scene))


def _orders(gauges: Gauges) -> RenderableType:
    table = columns("status", "", "orders")
    table.columns[1].justify = "left"
    most = max([*gauges.orders.values(), 1])
    for status, style in STATUSES.items():
        count = gauges.orders.get(status, 0)
        bar = Text("█" * round(20 * count / most), style=style)
        table.add_row(Text(status, style=style), bar, str(count))
    return Panel(table, title="orders", height=8)


def _flow(scene: Scene, gauges: Gauges) -> RenderableType:
    table = columns("", "")
    calls = scene.provider.calls
    repeats = max(calls.webhooks - gauges.webhooks, 0)
    table.add_row("webhooks sent", str(calls.webhooks))
    table.add_row("  known already, changed nothing", str(repeats))
    table.add_row("  sent anew, the service was away", str(calls.retries))
    table.add_row("WebSocket updates seen", str(scene.till.updates))
    style = "yellow" if gauges.backlog > 100 else "default"
    table.add_row("waiting to go to Kafka", Text(str(gauges.backlog), style=style))
    table.add_row("the oldest of it, for", f"{gauges.lag_seconds:.2f} s")
    return Panel(table, title="flow", height=8)


def _topics(gauges: Gauges) -> RenderableType:
    table = columns("channel", "log", "topic")
    for channel in CHANNELS:
        in_topic = str(gauges.topics.get(channel, 0))
        table.add_row(channel, str(gauges.log.get(channel, 0)), in_topic)
    table.add_row(Text("consumer", style="dim"), *(Text(t, style="dim") for t in ("once", "again")))
    for name in CONSUMERS:
        table.add_row(name, str(gauges.applied[name]), str(gauges.ignored[name]))
    return Panel(table, title="messages", height=10)


BREAKERS = {"closed": "green", "open": "bold red", "half-open": "yellow", "": "default"}


def _subscribers(gauges: Gauges) -> RenderableType:
    headers = ("delivered", "in the log", "the oldest, for", "in rows", "breaker")
    table = columns("subscriber", *headers)
    connectors = {f"{name}: {to}": gauges.bridged[name] for name, to in CONNECTORS.items()}
    for name, each in {**gauges.pushed, **connectors}.items():
        table.add_row(
            name,
            str(each.delivered),
            str(each.backlog),
            f"{each.lag_seconds:.2f} s",
            str(each.rows),
            Text(each.breaker, style=BREAKERS[each.breaker]),
        )
    title = f"webhooks of {CHANNEL}, connectors of {inventory.CHANNEL}"
    return Panel(table, title=title, height=9)
