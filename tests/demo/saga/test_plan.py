"""Promises of what the saga's demo draws: a seed tells everything, and all of it happens."""

from random import Random

from demo.saga import fate
from demo.saga.purchases import SCARCE, opening_stock, purchases
from demo.saga.steps import STEPS
from demo.saga.troubles import (
    ALL_KILLS,
    BLACKOUT,
    BLACKOUT_SECONDS,
    OUTAGE,
    OUTAGE_SECONDS,
    troubles,
)


def test_the_same_seed_gives_the_same_customers_and_kills() -> None:
    assert purchases(Random(3), 50) == purchases(Random(3), 50) != purchases(Random(4), 50)
    assert troubles(Random(3), 300, 20) == troubles(Random(3), 300, 20)


def test_twenty_processes_are_killed_in_the_middle_of_the_orders() -> None:
    planned = troubles(Random(7), 300, ALL_KILLS)
    assert sum(len(each.victims) for each in planned) == ALL_KILLS == 20
    assert all(15 <= each.after_orders <= 285 for each in planned)
    assert [each.after_orders for each in planned] == sorted(each.after_orders for each in planned)


def test_one_service_is_away_for_ten_seconds_and_once_all_are_for_longer_than_any_step() -> None:
    planned = troubles(Random(7), 300, ALL_KILLS)
    away = [(each.victims, each.away_seconds) for each in planned if each.away_seconds]
    assert away == [(OUTAGE, OUTAGE_SECONDS), (BLACKOUT, BLACKOUT_SECONDS)]
    assert OUTAGE_SECONDS == 10
    assert max(step.timeout_seconds for step in STEPS) < BLACKOUT_SECONDS


def test_with_fewer_kills_nobody_stays_away() -> None:
    planned = troubles(Random(7), 20, 3)
    assert len(planned) == 3
    assert {(len(each.victims), each.away_seconds) for each in planned} == {(1, 0.0)}


def test_every_misfortune_is_drawn_and_most_orders_have_none() -> None:
    ids = [purchase.order.id for purchase in purchases(Random(7), 300)]

    def share(count: int) -> float:
        return count / len(ids)

    assert 0.02 < share(sum(map(fate.is_declined, ids))) < 0.15
    assert 0.02 < share(sum(map(fate.finds_closed, ids))) < 0.15
    assert 0.15 < share(sum(map(fate.loses_answer, ids))) < 0.35
    assert {fate.failed_refunds(id) for id in ids} == {0, 1, 2, 3}
    assert {fate.failed_releases(id) for id in ids} == {0, 1, 2, 3}


def test_one_product_runs_out_and_the_others_do_not() -> None:
    wanted = dict.fromkeys(opening_stock(300), 0)
    for purchase in purchases(Random(7), 300):
        wanted[purchase.order.product] += purchase.order.quantity
    short = [product for product, count in opening_stock(300).items() if wanted[product] > count]
    assert short == [SCARCE]
