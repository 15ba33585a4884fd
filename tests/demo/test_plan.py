"""Promises of the plan: a seed tells everything, and every turn of events is in it."""

from random import Random

from demo import plan
from demo.plan import Ask, Send


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan.stories(Random(3), 50) == plan.stories(Random(3), 50)
    assert plan.stories(Random(3), 50) != plan.stories(Random(4), 50)


def test_a_plan_holds_every_kind_of_webhook_duplicates_and_checks() -> None:
    stories = plan.stories(Random(7), 300)
    hooks = [hook for story in stories for hook in story.webhooks()]
    assert {hook.event_type for hook in hooks} == {
        "ATTEMPT_SUCCESS",
        "ATTEMPT_FAILED",
        "ATTEMPT_EXPIRED",
        "ATTEMPT_CANCELLED",
        "TRANSACTION_SETTLED",
        "TRANSACTION_CANCELLED",
    }
    assert {hook.copies for hook in hooks} == set(plan.COPIES)
    assert {hook.check is None for hook in hooks} == {True, False}
    assert {hook.paid is None for hook in hooks} == {True, False}
    steps = [step for story in stories for _, step in story.steps]
    assert {"ship", "deliver"} <= {step.path for step in steps if isinstance(step, Ask)}
    assert any(len(step.webhooks) > 1 for step in steps if isinstance(step, Send))


def test_checks_add_up_to_their_order() -> None:
    for story in plan.stories(Random(7), 300):
        if checks := story.form["checks"]:
            cents = [round(float(check["total"]) * 100) for check in checks]
            assert sum(cents) == round(float(story.form["total"]) * 100)


def test_kills_come_in_the_middle_and_in_order() -> None:
    kills = plan.kills(Random(7), 100, {"relay": 20, "service": 10})
    assert [kill.after_orders for kill in kills] == sorted(kill.after_orders for kill in kills)
    assert all(5 <= kill.after_orders <= 95 for kill in kills)
    assert sum(kill.victim == "relay" for kill in kills) == 20


def test_one_early_order_is_by_the_customer_whom_a_subscriber_can_not_address() -> None:
    for seed in range(20):
        customers = [story.form.get("customerId") for story in plan.stories(Random(seed), 40)]
        assert customers.count(plan.POISONOUS_CUSTOMER) == 1
        assert plan.POISONOUS_CUSTOMER in customers[: len(customers) // 4]
