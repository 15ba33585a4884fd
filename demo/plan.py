"""What will happen to every order, drawn from a seed before anything happens."""

from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import msgspec

PRICES = {
    "espresso": Decimal("2.40"),
    "flat white": Decimal("3.90"),
    "croissant": Decimal("2.75"),
    "cheesecake": Decimal("4.80"),
    "house blend 250 g": Decimal("11.50"),
}
CENT = Decimal("0.01")
# One of the subscribers can't address this one until it is repaired.
POISONOUS_CUSTOMER = "customer № 13"

# How often a webhook is sent, each copy at the same moment as the others.
COPIES, COPIES_WEIGHTS = (1, 2, 3, 5), (50, 25, 15, 10)
MAX_PAUSE_SECONDS = 0.4

SUCCESS = "ATTEMPT_SUCCESS"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One event of the provider, for the order or for its check number `check`.

    `paid` is cumulative; None: the provider sends the attempt alone, without its transaction.
    """

    event_type: str
    check: int | None
    attempt_id: UUID
    transaction_id: UUID
    amount: Decimal
    total: Decimal
    paid: Decimal | None
    copies: int


class Send(msgspec.Struct, frozen=True):
    """Webhooks that are sent at the same moment, all their copies shuffled."""

    webhooks: tuple[Webhook, ...]


class Ask(msgspec.Struct, frozen=True):
    """A step that people take: POST to `path` below the order; `{check}` is the id of `check`."""

    path: str
    check: int | None = None
    body: dict[str, str] | None = None


Step = Send | Ask


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """One order: the form it is made with, and its steps, each after a pause in seconds."""

    form: dict[str, Any]
    steps: tuple[tuple[float, Step], ...]

    def webhooks(self) -> list[Webhook]:
        """Every webhook of this order, as often as the story sends it again later."""
        return [hook for _, step in self.steps if isinstance(step, Send) for hook in step.webhooks]


class Kill(msgspec.Struct, frozen=True, order=True):
    """SIGKILL for one process of the company, once so many orders are through."""

    after_orders: int
    victim: str


class Writer:
    """Draws one order's webhooks; remembers what the provider has taken for each target."""

    def __init__(self, random: Random, totals: dict[int | None, Decimal]) -> None:
        self.random = random
        self.totals = totals
        self._paid = dict.fromkeys(totals, Decimal(0))
        self._transactions = {check: self.uuid() for check in totals}

    def uuid(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    def pays(self, amount: Decimal, check: int | None = None) -> Webhook:
        """ATTEMPT_SUCCESS of `amount`."""
        self._paid[check] += amount
        return self._webhook(SUCCESS, amount, check)

    def pays_all(self, check: int | None = None) -> Webhook:
        """ATTEMPT_SUCCESS of whatever is not paid yet."""
        return self.pays(self.totals[check] - self._paid[check], check)

    def part(self, check: int | None = None) -> Decimal:
        """Some of what is to be paid, never all of it."""
        return (self.totals[check] * self.random.randint(20, 70) / 100).quantize(CENT)

    def does_not_pay(self, check: int | None = None) -> Webhook:
        """One of the three ways in which an attempt comes to nothing."""
        events = ("ATTEMPT_FAILED", "ATTEMPT_EXPIRED", "ATTEMPT_CANCELLED")
        return self._webhook(self.random.choice(events), self.totals[check], check)

    def settles(self) -> Webhook:
        """TRANSACTION_SETTLED, which changes nothing."""
        return self._webhook("TRANSACTION_SETTLED", self.totals[None], None)

    def gives_up(self) -> Webhook:
        """TRANSACTION_CANCELLED, which changes nothing: the attempt's end has said it all."""
        return self._webhook("TRANSACTION_CANCELLED", self.totals[None], None)

    def _webhook(self, event_type: str, amount: Decimal, check: int | None) -> Webhook:
        return Webhook(
            event_type=event_type,
            check=check,
            attempt_id=self.uuid(),
            transaction_id=self._transactions[check],
            amount=amount,
            total=self.totals[check],
            paid=self._paid[check] if self.random.random() < 0.8 else None,
            copies=self.random.choices(COPIES, COPIES_WEIGHTS)[0],
        )


START = Ask("payments")


def paid_at_once(draw: Writer) -> list[Step]:
    return [START, Send((draw.pays_all(),)), *_shipped(draw)]


def paid_in_parts(draw: Writer) -> list[Step]:
    first = Send((draw.pays(draw.part()),))
    return [START, first, START, Send((draw.pays_all(),)), *_shipped(draw)]


def paid_in_part(draw: Writer) -> list[Step]:
    return [START, Send((draw.pays(draw.part()),))]


def paid_twice(draw: Writer) -> list[Step]:
    again = draw.totals[None]
    return [START, Send((draw.pays_all(),)), Send((draw.pays(again),))]


def not_paid(draw: Writer) -> list[Step]:
    return [START, Send((draw.does_not_pay(),)), Send((draw.gives_up(),))]


def failure_comes_late(draw: Writer) -> list[Step]:
    return [START, Send((draw.pays_all(),)), Send((draw.does_not_pay(), draw.settles()))]


def payment_comes_late(draw: Writer) -> list[Step]:
    return [START, Send((draw.does_not_pay(),)), Send((draw.pays_all(),))]


def payment_and_failure_race(draw: Writer) -> list[Step]:
    return [START, Send((draw.pays_all(), draw.does_not_pay()))]


def checks_paid_at_once(draw: Writer) -> list[Step]:
    together = tuple(draw.pays_all(check) for check in _checks(draw))
    return [Send(together), *_shipped(draw)]


def checks_paid_with_trouble(draw: Writer) -> list[Step]:
    first, second, *others = _checks(draw)
    restart = "checks/{check}/payments"
    return [
        Send((draw.does_not_pay(first), draw.pays(draw.part(second), second))),
        Send(tuple(draw.pays_all(check) for check in others)),
        Ask(restart, first),
        Ask(restart, second),
        Send((draw.pays_all(first), draw.pays_all(second))),
    ]


PLOTS: dict[Callable[[Writer], list[Step]], int] = {
    paid_at_once: 30,
    paid_in_parts: 14,
    paid_in_part: 4,
    paid_twice: 4,
    not_paid: 8,
    failure_comes_late: 8,
    payment_comes_late: 5,
    payment_and_failure_race: 5,
    checks_paid_at_once: 14,
    checks_paid_with_trouble: 8,
}


def _checks(draw: Writer) -> list[int]:
    return [check for check in draw.totals if check is not None]


def _shipped(draw: Writer) -> list[Step]:
    if draw.random.random() < 0.5:
        return []
    number = f"TRACK-{draw.random.randrange(10**6):06}"
    return [Ask("ship", body={"trackingNumber": number}), Ask("deliver")]


def stories(random: Random, orders: int) -> list[Story]:
    """So many orders, the first first; one of the early ones is by POISONOUS_CUSTOMER."""
    drawn = [_story(random, f"D-{number}") for number in range(1, orders + 1)]
    drawn[random.randint(orders // 20, orders // 8)].form["customerId"] = POISONOUS_CUSTOMER
    return drawn


def _story(random: Random, number: str) -> Story:
    items, total = _items(random)
    plot = random.choices(list(PLOTS), list(PLOTS.values()))[0]
    with_checks = plot in (checks_paid_at_once, checks_paid_with_trouble)
    checks = _split(total, random.randint(2, 4)) if with_checks else []
    writer = Writer(random, {None: total, **dict(enumerate(checks))})
    steps = plot(writer)
    sent = [step for step in steps if isinstance(step, Send)]
    if random.random() < 0.3:
        steps.append(random.choice(sent))
    form = {
        "number": number,
        "merchantId": "corner cafe",
        "saleChannelId": random.choice(("counter", "web", "app")),
        "currency": "EUR",
        "total": str(total),
        "createdBy": "till",
        "items": items,
        "checks": [{"total": str(check)} for check in checks],
        "allocations": [{"allocationId": "happy hour"}] if random.random() < 0.2 else [],
    }
    if random.random() < 0.7:
        form["customerId"] = f"customer {random.randint(1, 50)}"
    pauses = [random.uniform(0, MAX_PAUSE_SECONDS) for _ in steps]
    return Story(form=form, steps=tuple(zip(pauses, steps, strict=True)))


def _items(random: Random) -> tuple[list[dict[str, Any]], Decimal]:
    """What is on the order, and what it costs."""
    items: list[dict[str, Any]] = []
    total = Decimal(0)
    for product in random.sample(list(PRICES), random.randint(1, 3)):
        quantity = random.randint(1, 4)
        total += PRICES[product] * quantity
        items.append(_item("GOODS", product, quantity, "PRODUCT"))
    if random.random() < 0.25:
        total += Decimal("1.50")
        items.append(_item("SERVICE", "gift wrapping", 1, "CUSTOM"))
    return items, total


def _item(item_type: str, item_id: str, quantity: int, mode: str) -> dict[str, Any]:
    return {"itemType": item_type, "itemId": item_id, "quantity": quantity, "mode": mode}


def _split(total: Decimal, parts: int) -> list[Decimal]:
    """A bill in equal parts; the first takes the odd cents."""
    part = (total / parts).quantize(CENT, rounding="ROUND_DOWN")
    return [total - part * (parts - 1), *[part] * (parts - 1)]


def kills(random: Random, orders: int, victims: dict[str, int]) -> list[Kill]:
    """So many kills for each victim, at random moments in the middle of the orders, in their order.

    Counted in orders and not in seconds: on a slow machine, too, they happen in the middle.
    """
    first, last = orders // 20, orders - orders // 20
    return sorted(
        Kill(random.randint(first, last), victim)
        for victim, count in victims.items()
        for _ in range(count)
    )
