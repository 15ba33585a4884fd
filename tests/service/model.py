"""What the payment domain promises, as a pure model in whole cents: no database, no HTTP."""

from dataclasses import dataclass, field

CANCELLING = {"ATTEMPT_FAILED", "ATTEMPT_EXPIRED", "ATTEMPT_CANCELLED"}


@dataclass
class Payable:
    """An order or a check."""

    total: int
    status: str
    paid: int = 0


@dataclass
class ModelOrder:
    """An order, its checks, and what it said to the world."""

    total: int
    customer: bool
    check_totals: list[int]
    order: Payable = field(init=False)
    checks: list[Payable] = field(init=False)
    points: int = 0
    allocation: str = "ACTIVE"
    published: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.order = Payable(self.total, "DRAFT")
        self.checks = [Payable(total, "PROCESSING") for total in self.check_totals]
        self._say("order.created")

    def start_order(self) -> bool:
        """Whether the state allows it."""
        return self._start(self.order, {"DRAFT", "PARTIAL"})

    def start_check(self, index: int) -> bool:
        """Whether the state allows it."""
        return self._start(self.checks[index], {"PARTIAL", "CANCELLED"})

    def order_event(self, event_type: str, amount: int, cumulative: int | None) -> None:
        """A new event; `cumulative` is its transaction's paid, None without a transaction."""
        order = self.order
        if event_type == "ATTEMPT_SUCCESS":
            if order.status != "PROCESSING":
                self._say("payment.unapplied", amount)
            else:
                missing = self._grow(order, amount, cumulative)
                self._paid(in_full=order.paid >= order.total)
                self._unapplied(missing)
                if order.status == "COMPLETED":
                    self._strand_checks()
        elif event_type in CANCELLING and order.status == "PROCESSING":
            order.status = "CANCELLED"
            self._say("ORDER_PAYMENT_UPDATED", order.paid)
            self._say("order.cancelled")
            self._unapplied(order.paid)
            self._strand_checks()

    def check_event(self, index: int, event_type: str, amount: int, cumulative: int | None) -> None:
        """A new event for a check; `cumulative` is its transaction's paid, None without one."""
        check = self.checks[index]
        if event_type in CANCELLING and check.status == "PROCESSING":
            check.status = "CANCELLED"
            self._unapplied(check.paid)
        if event_type != "ATTEMPT_SUCCESS":
            return
        if check.status != "PROCESSING":
            self._say("payment.unapplied", amount)
            return
        missing = self._grow(check, amount, cumulative)
        check.status = "COMPLETED" if check.paid >= check.total else "PARTIAL"
        if self.order.status in ("COMPLETED", "CANCELLED"):
            self._say("payment.unapplied", amount)
            return
        self._unapplied(missing)
        if all(sibling.status == "COMPLETED" for sibling in self.checks):
            beside, by_checks = self.order.paid, sum(sibling.paid for sibling in self.checks)
            self.order.paid = max(beside, by_checks)
            self._paid(in_full=True)
            self._unapplied(min(beside, by_checks))

    def _grow(self, payable: Payable, amount: int, cumulative: int | None) -> int:
        """What the attempt brought and `paid` did not grow by."""
        before = payable.paid
        payable.paid = before + amount if cumulative is None else max(before, cumulative)
        return amount - (payable.paid - before)

    def _strand_checks(self) -> None:
        for check in self.checks:
            if check.status != "CANCELLED":
                self._unapplied(check.paid)

    def _unapplied(self, paid: int) -> None:
        if paid > 0:
            self._say("payment.unapplied", paid)

    def _start(self, payable: Payable, allowed: set[str]) -> bool:
        if payable.status not in allowed:
            return False
        payable.status = "PROCESSING"
        return True

    def _paid(self, *, in_full: bool) -> None:
        self.order.status = "COMPLETED" if in_full else "PARTIAL"
        self._say("payment.success", self.order.paid)
        self._say("ORDER_PAYMENT_UPDATED", self.order.paid)
        if in_full:
            self.allocation = "SUCCESS"
            self.points = self.total // 100 if self.customer else 0
            self._say("order.paid")

    def _say(self, message_type: str, cents: int = 0) -> None:
        self.published.append((message_type, cents))
