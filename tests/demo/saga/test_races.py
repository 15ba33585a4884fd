"""What people get wrong in a saga, each by its name."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from demo.consumers.inbox import bounded_transaction
from demo.saga import orchestrator
from demo.saga.messages import Command, Reply
from demo.saga.orchestrator import Impossible, UnknownOrder
from demo.saga.provider import Book, Provider, reading
from demo.saga.services import fulfilment, order, payment
from demo.saga.services.till import Till
from demo.saga.steps import (
    FIRST_RETRY_SECONDS,
    MAX_PATIENCE,
    MAX_RETRY_SECONDS,
    PIVOT,
    STEPS,
    Step,
    answer_seconds,
    position,
    retry_seconds,
)
from local.server import free_port
from tests.demo.saga.world import Message, World, an_order, committed
from tests.eventually import eventually

BEFORE_THE_PIVOT = STEPS[: position(PIVOT)]


def test_an_order_goes_through_all_steps_and_is_delivered(world: World) -> None:
    wanted = world.begin(an_order(quantity=2))
    assert world.settle(wanted.id) == "delivered"
    sent = [event for event in world.history(wanted.id) if event.startswith("sent")]
    assert sent == [f"sent {step.action}" for step in STEPS]
    world.check(wanted)


def test_an_order_that_is_taken_twice_begins_once(world: World) -> None:
    wanted = world.begin(an_order())
    assert not orchestrator.begin(world.connection, wanted)
    assert [each.type for each in world.published(wanted.id)] == ["reserve"]


@pytest.mark.parametrize(
    ("fate", "undone"),
    [({"closed": True}, ["refund", "release"]), ({"declined": True}, ["release"])],
    ids=["the warehouse is closed", "the card is declined"],
)
def test_a_refusal_undoes_what_was_done_before_it_in_reverse(
    world: World, fate: dict[str, bool], undone: list[str]
) -> None:
    wanted = world.begin(an_order(**fate))  # type: ignore[arg-type]
    assert world.settle(wanted.id) == "undone"
    compensations = [step.compensation for step in STEPS]
    sent = [each.type for each in world.published(wanted.id) if each.type in compensations]
    assert sent == undone
    world.check(wanted)


def test_a_message_that_comes_twice_has_one_effect(world: World) -> None:
    wanted = world.begin(an_order())
    for _ in range(2 * len(STEPS)):
        if not world.waiting(wanted.id):
            world.ask_provider(wanted.id)
        message = world.waiting(wanted.id)[0]
        assert world.deliver(message)
        assert not world.deliver(message)
    assert world.saga(wanted.id)[0] == "delivered"
    world.check(wanted)


def test_a_command_that_is_sent_again_has_one_effect_and_is_answered_again(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "ship")
    for attempt in (1, 2):
        [ship] = world.waiting(wanted.id)
        assert ship.name == f"ship {attempt}"
        world.deliver(ship)
        [shipped] = world.waiting(wanted.id)
        world.came.append(shipped.key)  # Its reply is under way for long.
        world.time_out(wanted.id)
    assert world.settle(wanted.id) == "delivered"
    world.check(wanted)


def test_a_reply_that_comes_again_under_another_key_moves_nothing(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "charge")
    before = world.saga(wanted.id), len(world.published(wanted.id))
    orchestrator.take_reply(world.connection, Reply(wanted.id, "stock", "reserve", 2, "done"))
    assert (world.saga(wanted.id), len(world.published(wanted.id))) == before
    assert world.history(wanted.id)[-1] == "late reserve"


@pytest.mark.parametrize("step", BEFORE_THE_PIVOT, ids=lambda step: step.name)
def test_a_reply_after_its_timeout_is_only_noted_and_what_it_reports_is_undone(
    world: World, step: Step
) -> None:
    action = step.action
    wanted = world.begin(an_order())
    reply = world.deliver_until(wanted.id, f"{action}.done")
    world.time_out(wanted.id)
    world.deliver(reply)
    assert f"late {action}" in world.history(wanted.id)
    assert world.settle(wanted.id) == "undone"
    world.check(wanted)


@pytest.mark.parametrize("step", BEFORE_THE_PIVOT, ids=lambda step: step.name)
def test_a_compensation_that_overtakes_its_action_leaves_a_tombstone(
    world: World, step: Step
) -> None:
    action, compensation = step.action, step.compensation
    wanted = world.begin(an_order())
    late = world.deliver_until(wanted.id, action)
    world.time_out(wanted.id)
    [undo] = [each for each in world.waiting(wanted.id) if each.type == compensation]
    world.deliver(undo)
    states = world.reservation(wanted.id), world.charge(wanted.id), world.parcel(wanted.id)
    assert "tombstone" in states
    world.deliver(late)
    assert f"{action}.refused" in [each.type for each in world.published(wanted.id)]
    assert world.settle(wanted.id) == "undone"
    world.check(wanted)


def test_a_compensation_that_fails_is_tried_until_it_succeeds_and_never_shown_as_done(
    world: World,
) -> None:
    wanted = world.begin(an_order(closed=True, failed_refunds=3, failed_releases=2))
    world.deliver_until(wanted.id, "refund")
    for failures in (1, 2, 3):
        reply = world.deliver_until(wanted.id, "refund.failed")
        world.deliver(reply)
        assert world.history(wanted.id).count("failed refund") == failures
        assert world.saga(wanted.id) == ("backward", "money")
        assert world.status(wanted.id) == "pending"
        world.time_out(wanted.id)
    assert world.settle(wanted.id) == "undone"
    history = world.history(wanted.id)
    assert [event for event in history if "failed" in event] == [
        *["failed refund"] * 3,
        *["failed release"] * 2,
    ]
    assert history[-2:] == ["done release", "undone"]
    world.check(wanted)


def test_a_failed_compensation_is_tried_again_later_and_not_at_once(world: World) -> None:
    wanted = world.begin(an_order(failed_releases=1))
    world.deliver_until(wanted.id, "charge")
    world.cancel(wanted.id)
    world.deliver(world.deliver_until(wanted.id, "release.failed"))
    assert order.work(world.connection) == 0
    assert world.saga(wanted.id) == ("backward", "stock")
    assert 0 < world.seconds_left(wanted.id) <= retry_seconds(1)


def test_each_time_without_an_answer_is_waited_for_longer_up_to_a_limit() -> None:
    waits = [answer_seconds(STEPS[0], attempt) for attempt in (1, 2, MAX_PATIENCE + 1)]
    assert waits == [each * STEPS[0].timeout_seconds for each in (1, 2, MAX_PATIENCE)]
    pauses = [retry_seconds(attempt) for attempt in (1, 2, 100)]
    assert pauses == [FIRST_RETRY_SECONDS, 2 * FIRST_RETRY_SECONDS, MAX_RETRY_SECONDS]


@pytest.mark.parametrize("step", BEFORE_THE_PIVOT, ids=lambda step: step.name)
def test_a_customer_who_cancels_in_the_middle_gets_everything_back(
    world: World, step: Step
) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, step.action)
    assert world.cancel(wanted.id)
    assert world.cancel(wanted.id), "asked again, it is the same answer"
    assert world.settle(wanted.id) == "undone"
    assert world.history(wanted.id).count("cancelled " + step.action) == 1
    world.check(wanted)


def test_a_customer_who_cancels_at_the_pivot_is_told_that_it_is_too_late(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "ship")
    assert world.saga(wanted.id) == ("forward", PIVOT)
    assert not world.cancel(wanted.id)
    assert world.settle(wanted.id) == "delivered"
    assert not world.cancel(wanted.id)
    world.check(wanted)


def test_from_the_pivot_on_nothing_is_undone_and_before_it_everything_can_be() -> None:
    assert [step.compensation is None for step in STEPS] == [
        position(step.name) >= position(PIVOT) for step in STEPS
    ]


def test_a_timeout_at_the_pivot_sends_the_command_again(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "ship")
    world.time_out(wanted.id)
    assert [each.name for each in world.waiting(wanted.id)] == ["ship 1", "ship 2"]
    assert world.settle(wanted.id) == "delivered"
    world.check(wanted)


def test_readers_see_a_pending_order_until_its_saga_has_ended(saga_url: str) -> None:
    with committed(saga_url, 2) as (world, reader):
        wanted = world.begin(an_order(closed=True))
        while world.saga(wanted.id)[0] in ("forward", "backward"):
            assert reader.status(wanted.id) == "pending"
            if not world.ask_provider(wanted.id):
                world.deliver_next(wanted.id)
        assert reader.status(wanted.id) == "cancelled"


def test_of_two_sagas_that_want_the_last_item_one_gets_it(saga_url: str) -> None:
    with committed(saga_url, 2) as worlds:
        wanted = [an_order(product="the last one") for _ in worlds]
        for world, each in zip(worlds, wanted, strict=True):
            world.begin(each, in_stock=1)
        commands = [world.waiting(each.id)[0] for world, each in zip(worlds, wanted, strict=True)]
        with ThreadPoolExecutor(2) as pool:
            list(
                pool.map(lambda pair: pair[0].deliver(pair[1]), zip(worlds, commands, strict=True))
            )
        ends = [world.settle(each.id) for world, each in zip(worlds, wanted, strict=True)]
        assert sorted(ends) == ["delivered", "undone"]
        assert worlds[0].available("the last one") == 0


def test_a_reply_that_has_the_saga_is_not_overtaken_by_the_timeout(saga_url: str) -> None:
    with committed(saga_url, 2) as (world, other):
        wanted = world.begin(an_order())
        reply = world.deliver_until(wanted.id, "reserve.done")
        world.connection.execute("update shop.saga set deadline = '-infinity'")
        with world.connection.transaction():
            world.deliver(reply)
            assert order.work(other.connection) == 0
        assert order.work(other.connection) == 0
        assert world.saga(wanted.id) == ("forward", "money")
        assert world.settle(wanted.id) == "delivered"


def test_a_reply_that_meets_the_timeout_waits_for_it_and_is_late(saga_url: str) -> None:
    with committed(saga_url, 3) as (world, other, watcher), ThreadPoolExecutor(1) as pool:
        wanted = world.begin(an_order())
        reply = world.deliver_until(wanted.id, "reserve.done")
        world.connection.execute("update shop.saga set deadline = '-infinity'")
        with world.connection.transaction():
            assert order.work(world.connection) == 1
            delivered = pool.submit(other.deliver, reply)
            eventually(lambda: waits_for_a_lock(watcher, other))
        assert delivered.result()
        world.came.append(reply.key)
        assert world.history(wanted.id)[-1] == "late reserve"
        assert world.saga(wanted.id) == ("backward", "stock")
        assert world.settle(wanted.id) == "undone"


def waits_for_a_lock(watcher: World, other: World) -> None:
    row = watcher.connection.execute(
        "select wait_event_type from pg_stat_activity where pid = %s",
        [other.connection.info.backend_pid],
    ).fetchone()
    assert row == ("Lock",)


def test_deadlines_that_passed_while_everything_was_down_are_swept_after_the_restart(
    saga_url: str,
) -> None:
    with committed(saga_url, 1) as (before,):
        wanted = [before.begin(an_order()) for _ in range(orchestrator.SWEEP_AT_ONCE + 1)]
        before.connection.execute("update shop.saga set deadline = '-infinity'")
        # Nothing is kept but the rows, and nobody orders or answers: the new process looks.
        with psycopg.connect(saga_url, autocommit=True) as connection:
            assert order.work(connection) == orchestrator.SWEEP_AT_ONCE
            assert order.work(connection) == 1
            assert order.work(connection) == 0
        assert {before.saga(each.id)[0] for each in wanted} == {"backward"}


def fall_before_the_commit(world: World, message: Message) -> None:
    """The message takes its effect, and all of it is rolled back with the process."""
    with world.connection.transaction(force_rollback=True):
        before = list(world.came)
        assert world.deliver(message)
        world.came = before


def test_the_last_compensation_and_the_terminal_state_are_one_transaction(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "charge")
    world.cancel(wanted.id)
    reply = world.deliver_until(wanted.id, "release.done")
    fall_before_the_commit(world, reply)
    assert world.saga(wanted.id) == ("backward", "stock")
    assert world.status(wanted.id) == "pending"
    assert world.deliver(reply), "the inbox has forgotten it too"
    assert (world.saga(wanted.id)[0], world.status(wanted.id)) == ("undone", "cancelled")


def test_a_release_that_can_not_be_answered_has_not_happened(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "charge")
    world.cancel(wanted.id)
    release = world.deliver_until(wanted.id, "release")
    fall_before_the_commit(world, release)
    assert world.reservation(wanted.id) == "reserved"
    assert world.deliver(release)
    assert world.reservation(wanted.id) == "released"


def test_a_refund_while_the_charge_is_unknown_waits_for_the_verdict(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver(world.deliver_until(wanted.id, "charge"))
    world.provider.is_silent = True
    world.ask_provider(wanted.id)
    world.time_out(wanted.id)
    world.deliver(world.deliver_until(wanted.id, "refund"))
    assert world.charge(wanted.id) == "asked"
    assert world.waiting(wanted.id) == []
    world.provider.is_silent = False
    world.ask_provider(wanted.id)
    assert world.charge(wanted.id) == "returning"
    assert world.settle(wanted.id) == "undone"
    world.check(wanted)


def test_a_refund_of_a_charge_that_turns_out_declined_is_done(world: World) -> None:
    wanted = world.begin(an_order(declined=True))
    world.deliver(world.deliver_until(wanted.id, "charge"))
    world.time_out(wanted.id)
    world.deliver(world.deliver_until(wanted.id, "refund"))
    assert world.settle(wanted.id) == "undone"
    world.check(wanted)


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The real provider, serving; its book."""
    port, path = free_port(), tmp_path / "book.sqlite"
    with closing(Book(path, shared=True)) as book, Provider(port, book) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.02])
        thread.start()
        monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{port}")
        yield path
        server.shutdown()
        thread.join()


def test_a_charge_whose_answer_is_lost_is_asked_for_again_and_made_once(
    world: World, provider: Path
) -> None:
    wanted = world.begin(an_order(loses_answer=True))
    world.deliver(world.deliver_until(wanted.id, "charge"))
    till = Till()
    assert not payment.charge_now(world.connection, till.ask, wanted.id)
    assert world.charge(wanted.id) == "asked"
    assert world.waiting(wanted.id) == []
    assert payment.charge_now(world.connection, till.ask, wanted.id)
    assert world.charge(wanted.id) == "charged"
    with reading(provider) as book:
        rows = book.execute("select kind, amount_cents, outcome, calls from entry").fetchall()
    assert rows == [("charge", wanted.amount_cents, "taken", 2)]


def test_a_provider_that_is_away_leaves_the_charge_to_be_asked_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_URL", f"http://127.0.0.1:{free_port()}")
    wanted = world.begin(an_order())
    world.deliver(world.deliver_until(wanted.id, "charge"))
    assert not payment.charge_now(world.connection, Till().ask, wanted.id)
    assert world.charge(wanted.id) == "asked"


def test_a_charge_that_fails_at_the_provider_is_not_declined_but_asked_for_again(
    world: World,
) -> None:
    wanted = world.begin(an_order())
    world.deliver(world.deliver_until(wanted.id, "charge"))
    assert not payment.charge_now(world.connection, lambda *_: "failed", wanted.id)
    assert world.charge(wanted.id) == "asked"
    assert world.settle(wanted.id) == "delivered"
    world.check(wanted)


def test_of_two_processes_with_one_verdict_one_answers(saga_url: str) -> None:
    with committed(saga_url, 2) as (world, other):
        wanted = world.begin(an_order())
        world.deliver(world.deliver_until(wanted.id, "charge"))

        def ask_meanwhile(verb: str, key: str, command: Command) -> str:
            payment.charge_now(other.connection, world.provider.ask, wanted.id)
            return world.provider.ask(verb, key, command)

        payment.charge_now(world.connection, ask_meanwhile, wanted.id)  # type: ignore[arg-type]
        assert [each.type for each in world.waiting(wanted.id)] == ["charge.done"]


def test_of_two_processes_with_one_refund_one_answers(saga_url: str) -> None:
    with committed(saga_url, 2) as (world, other):
        wanted = world.begin(an_order())
        world.deliver_until(wanted.id, "request")
        world.cancel(wanted.id)
        world.deliver(world.deliver_until(wanted.id, "refund"))

        def ask_meanwhile(verb: str, key: str, command: Command) -> str:
            payment.refund_now(other.connection, world.provider.ask, wanted.id)
            return world.provider.ask(verb, key, command)

        payment.refund_now(world.connection, ask_meanwhile, wanted.id)  # type: ignore[arg-type]
        assert [each.type for each in world.published(wanted.id)].count("refund.done") == 1
        assert world.settle(wanted.id) == "undone"
        world.check(wanted)


def test_what_the_table_has_no_place_for_is_an_error_and_changes_nothing(world: World) -> None:
    wanted = world.begin(an_order())
    world.deliver_until(wanted.id, "ship")
    with pytest.raises(Impossible), bounded_transaction(world.connection):
        orchestrator.take_reply(
            world.connection, Reply(wanted.id, "shipment", "ship", 1, "refused")
        )
    with pytest.raises(UnknownOrder), bounded_transaction(world.connection):
        orchestrator.cancel(world.connection, an_order().id)
    stray = Command(an_order().id, "shipment", "ship", 1, "cup", 1, 1)
    with pytest.raises(fulfilment.NotPackedError), bounded_transaction(world.connection):
        fulfilment.ship(world.connection, stray)
    assert world.settle(wanted.id) == "delivered"
