"""Every interleaving of replies, timeouts and a cancel: each ends delivered or fully undone."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from demo.saga.orchestrator import Order
from tests.demo.saga.world import Message, World, an_order

LEAST_STATES = 500


class Budget(msgspec.Struct, frozen=True):
    """How often each may still happen."""

    timeouts: int = 0
    cancels: int = 0
    repeats: int = 0


class Look(msgspec.Struct, frozen=True):
    """One state: the row of STATE, and what was published by then."""

    row: tuple[Any, ...]
    published: list[Message]

    @property
    def saga(self) -> str:
        return str(self.row[0])

    @property
    def charge(self) -> str:
        return str(self.row[1])

    @property
    def goes_on(self) -> bool:
        return self.saga in ("forward", "backward")

    def names(self, came: list[str], *, again: bool) -> tuple[str, ...]:
        """Of the messages that may still come; with those that came, where they may come again."""
        waiting = sorted(each.name for each in self.published if each.key not in came)
        if again:
            waiting += sorted(f"{each.name} again" for each in self.published if each.key in came)
        return tuple(waiting)


class Explorer:
    """Tries every next event in every state that can be reached, each in a savepoint.

    Events are: a message that was published comes, in any order, or comes again; the provider
    answers; the deadline passes; the customer cancels. `ends` counts the states in which nothing
    more happens by itself, by the saga's state.
    """

    def __init__(self, world: World, wanted: Order, *, in_stock: int = 5) -> None:
        self.states: set[tuple[object, ...]] = set()
        self.ends: dict[str, int] = {}
        self._world = world
        self._wanted = wanted
        self._in_stock = in_stock

    def explore(self, budget: Budget) -> None:
        """From here on."""
        look = self._look()
        # All that the future depends on.
        state = (
            budget,
            look.row,
            look.names(self._world.came, again=budget.repeats > 0),
            tuple(sorted(self._world.provider.taken)),
            tuple(sorted(self._world.provider.failures.items())),
        )
        if state in self.states:
            return
        self.states.add(state)
        events = list(self._events(look, budget))
        for event, left in events:
            self._try(event, left)
        if not any(left == budget for _, left in events):
            self._end(look, budget)

    def _look(self) -> Look:
        row = self._world.connection.execute(STATE, [self._wanted.id]).fetchone()
        assert row is not None
        return Look(row, self._world.published(self._wanted.id))

    def _try(self, event: Message | str, left: Budget) -> None:
        world = self._world
        came, taken, failures = (
            list(world.came),
            dict(world.provider.taken),
            dict(world.provider.failures),
        )
        with world.connection.transaction(force_rollback=True):
            self._happen(event)
            self.explore(left)
        world.came, world.provider.taken, world.provider.failures = came, taken, failures

    def _happen(self, event: Message | str) -> None:
        id = self._wanted.id
        match event:
            case Message():
                self._world.deliver(event)
            case "the provider answers":
                assert self._world.ask_provider(id)
            case "the deadline passes":
                self._world.time_out(id)
            case "the customer cancels":
                self._world.cancel(id)

    def _events(self, look: Look, budget: Budget) -> Iterator[tuple[Message | str, Budget]]:
        """What may happen next, and what may happen after it."""
        replace = msgspec.structs.replace
        for message in look.published:
            if message.key not in self._world.came:
                yield message, budget
            elif budget.repeats:
                yield message, replace(budget, repeats=budget.repeats - 1)
        if look.charge in ("asked", "returning"):
            yield "the provider answers", budget
        if look.goes_on and budget.timeouts:
            yield "the deadline passes", replace(budget, timeouts=budget.timeouts - 1)
        if look.saga == "forward" and budget.cancels:
            yield "the customer cancels", replace(budget, cancels=budget.cancels - 1)

    def _end(self, look: Look, budget: Budget) -> None:
        """Nothing is on its way. A saga that has not ended waits for its deadline, and for that."""
        if not look.goes_on:
            self._world.check(self._wanted, self._in_stock)
            self.ends[look.saga] = self.ends.get(look.saga, 0) + 1
        elif not budget.timeouts:
            self._try("the deadline passes", budget)


STATE = """
    select saga.state, charge.state, step, attempt, reservation.state, charge.refund, parcel.state
    from shop.saga
    left join inventory.reservation using (order_id)
    left join payment.charge using (order_id)
    left join fulfilment.parcel using (order_id)
    where order_id = %s
"""


def explore(world: World, wanted: Order, budget: Budget) -> Explorer:
    explorer = Explorer(world, world.begin(wanted))
    explorer.explore(budget)
    return explorer


@pytest.mark.parametrize(
    "budget", [Budget(timeouts=1), Budget(cancels=1)], ids=["timeout", "cancel"]
)
def test_every_interleaving_of_replies_with_one_more_event_ends_well(
    world: World, budget: Budget
) -> None:
    assert set(explore(world, an_order(), budget).ends) == {"delivered", "undone"}


@pytest.mark.long
def test_every_interleaving_of_replies_with_a_timeout_and_a_cancel_ends_well(world: World) -> None:
    explorer = explore(world, an_order(), Budget(timeouts=1, cancels=1))
    assert set(explorer.ends) == {"delivered", "undone"}
    assert len(explorer.states) >= LEAST_STATES


@pytest.mark.parametrize(
    "fate",
    [{"closed": True}, {"declined": True}],
    ids=["the warehouse is closed", "the card is declined"],
)
def test_every_interleaving_of_a_refusal_with_a_timeout_is_undone(
    world: World, fate: dict[str, bool]
) -> None:
    explorer = explore(world, an_order(**fate), Budget(timeouts=1))  # type: ignore[arg-type]
    assert set(explorer.ends) == {"undone"}


def test_every_interleaving_of_compensations_that_fail_with_a_cancel_is_undone_or_delivered(
    world: World,
) -> None:
    wanted = an_order(failed_releases=1, failed_refunds=1)
    assert set(explore(world, wanted, Budget(cancels=1)).ends) == {"delivered", "undone"}


def test_an_order_out_of_stock_is_undone_in_every_interleaving(world: World) -> None:
    wanted = an_order(quantity=2)
    explorer = Explorer(world, world.begin(wanted, in_stock=1), in_stock=1)
    explorer.explore(Budget(timeouts=1))
    assert set(explorer.ends) == {"undone"}
