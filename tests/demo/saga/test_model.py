"""The orchestrator and the inventory against models of a few lines, by drawn histories."""

from uuid import UUID, uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.saga import fate, orchestrator
from demo.saga.messages import Command, Outcome, Reply
from demo.saga.services import inventory
from demo.saga.steps import STEPS
from tests.demo.saga.world import PRICE_CENTS, World, an_order

FEW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

ACTIONS = ["reserve", "charge", "request", "ship"]
COMPENSATIONS = ["release", "refund", "withdraw"]
PIVOT_AT = 3

# A command and its outcome, or "timeout", or "cancel".
Event = tuple[str, Outcome] | str
REPLIES: list[Event] = [
    *((name, "done") for name in [*ACTIONS, *COMPENSATIONS]),
    *((name, "refused") for name in ACTIONS[:PIVOT_AT]),
    *((name, "failed") for name in COMPENSATIONS),
]


class Model:
    """Where a saga stands: going forward at a step, undoing one, or at one of two ends."""

    def __init__(self) -> None:
        self.state, self.at = "forward", 0
        self.sent = ["reserve"]

    def step(self, event: Event) -> None:
        if isinstance(event, str):
            if event == "timeout":
                self._time_out()
            elif self.state == "forward" and self.at < PIVOT_AT:
                self._undo(self.at)
        elif self.state == "forward" and event[0] == ACTIONS[self.at]:
            if event[1] == "done":
                self._go_on()
            else:
                self._undo(self.at - 1)
        elif self.state == "backward" and event == (COMPENSATIONS[self.at], "done"):
            self._undo(self.at - 1)

    def _time_out(self) -> None:
        if self.state == "backward" or (self.state == "forward" and self.at < PIVOT_AT):
            self._undo(self.at)
        elif self.state == "forward":
            self.sent.append(ACTIONS[self.at])

    def _go_on(self) -> None:
        if self.at == PIVOT_AT:
            self.state = "delivered"
        else:
            self.at += 1
            self.sent.append(ACTIONS[self.at])

    def _undo(self, at: int) -> None:
        if at < 0:
            self.state = "undone"
        else:
            self.state, self.at = "backward", at
            self.sent.append(COMPENSATIONS[at])


# Mostly what is waited for, so that histories get somewhere; else anything that can come.
EVENTS = st.lists(
    st.one_of(
        st.just("expected"),
        st.just("expected"),
        st.sampled_from(REPLIES),
        st.sampled_from(["timeout", "cancel", "refused", "failed"]),
    ),
    min_size=3,
    max_size=14,
)


def chosen(model: Model, event: Event) -> Event:
    """What is waited for, where that is wanted of the event."""
    if model.state == "forward":
        name = ACTIONS[model.at]
        refused = event == "refused" and model.at < PIVOT_AT
    else:
        name, refused = COMPENSATIONS[min(model.at, PIVOT_AT - 1)], False
    match event:
        case "expected" | "refused":
            return (name, "refused" if refused else "done")
        case "failed":
            return (name, "failed") if model.state == "backward" else "timeout"
        case _:
            return event


@FEW
@given(events=EVENTS)
def test_the_orchestrator_does_what_its_model_does(world: World, events: list[Event]) -> None:
    with world.connection.transaction(force_rollback=True):
        wanted, model = world.begin(an_order()), Model()
        for drawn in events:
            event = chosen(model, drawn)
            model.step(event)
            happen(world, wanted.id, event)
            state, step = world.saga(wanted.id)
            assert (state, step) == (model.state, STEPS[model.at].name), events
        assert [each.type for each in world.published(wanted.id)] == model.sent
        status = {"delivered": "delivered", "undone": "cancelled"}.get(model.state, "pending")
        assert world.status(wanted.id) == status


def happen(world: World, order_id: UUID, event: Event) -> None:
    if isinstance(event, str):
        (world.time_out if event == "timeout" else world.cancel)(order_id)
    else:
        name, outcome = event
        [step] = [each.name for each in STEPS if name in (each.action, each.compensation)]
        reply = Reply(order_id, step, name, 1, outcome)
        orchestrator.take_reply(world.connection, reply)


ORDERS = [an_order(quantity=quantity).id for quantity in (1, 2, 3)]
COMMANDS = st.lists(
    st.tuples(st.sampled_from(range(3)), st.sampled_from(["reserve", "release"])), max_size=12
)


@FEW
@given(commands=COMMANDS, in_stock=st.integers(0, 5))
def test_the_stock_is_what_its_model_says_whatever_comes_in_whatever_order(
    world: World, commands: list[tuple[int, str]], in_stock: int
) -> None:
    connection, product = world.connection, f"product {uuid4()}"
    with connection.transaction(force_rollback=True):
        connection.execute(
            "insert into inventory.stock values (%s, %s, %s)", [product, in_stock, in_stock]
        )
        available, held, over = in_stock, dict[int, int](), set[int]()
        for which, name in commands:
            quantity = which + 1
            command = Command(ORDERS[which], "stock", name, 1, product, quantity, PRICE_CENTS)
            assert fate.failed_releases(command.order_id) == 0
            if name == "release":
                inventory.release(connection, command)
                available += held.pop(which, 0)
                over.add(which)
            else:
                inventory.reserve(connection, command)
                if which not in over and which not in held and quantity <= available:
                    held[which] = quantity
                    available -= quantity
                elif which not in held:
                    over.add(which)
            assert world.available(product) == available


SCHEDULE = st.lists(st.integers(0, 99), min_size=20, max_size=60)


@FEW
@given(schedule=SCHEDULE)
def test_two_orders_for_three_items_add_up_however_their_messages_come(
    world: World, schedule: list[int]
) -> None:
    with world.connection.transaction(force_rollback=True):
        orders = [an_order(product="shared", quantity=2, failed_refunds=1) for _ in range(2)]
        for each in orders:
            world.begin(each, in_stock=3)
        for drawn in schedule:
            order, what = orders[drawn % 2], drawn // 2
            messages = world.published(order.id)
            if what < 40:
                world.deliver(messages[what % len(messages)])
            elif what < 47:
                world.ask_provider(order.id)
            elif what == 47:
                world.time_out(order.id)
            elif what == 48:
                world.cancel(order.id)
        ends = [world.settle(each.id) for each in orders]
        delivered = ends.count("delivered")
        assert delivered <= 1
        assert world.available("shared") == 3 - 2 * delivered
        held = sum(world.provider.holds(each.id) for each in orders)
        assert held == 2 * PRICE_CENTS * delivered
