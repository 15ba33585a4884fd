"""A shared run and those that have work beside it: how long it sends on, and how many at once."""

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from relay.log import reading, shared
from relay.log.message import Row
from relay.log.reading import Reading
from relay.push.requests import sending
from relay.push.requests.slots import Slots
from tests.receiver import after
from tests.relay.push.stage import PushStage, inversions
from tests.relay.push.together import Together, subscribe

# Of cursors that are in no run.
OTHERS = {-1}


@pytest.mark.nightly
def test_one_with_much_to_send_one_by_one_holds_up_no_other(
    stage: PushStage, together: Together, impatience: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages are of one group, and its answers come soon, if one after the other."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 5.0)
    stage.subscribe("hot", types=["order.sent"])
    for name in ("a", "b", "c"):
        stage.subscribe(name, types=["order.paid"])
    stage.receiver.paths["/hot"] = after(0.015)
    stage.publish(*(f"h:{n}" for n in range(1, 1501)), type="order.sent")
    stage.publish("x:1", type="order.paid")
    ran = together.run()
    assert (ran["hot"].alone, ran["a"].alone) == (True, False)
    for name in ("a", "b", "c"):
        assert stage.keys(name) == ["x:1"]
    assert len(stage.keys("hot")) < 500
    for _ in range(40):
        together.relay.round()
        stage.let_time_pass()
    assert inversions(stage.keys("hot")) == []


def test_an_urgent_backlog_leaves_what_is_less_urgent_its_first_messages(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.5)
    for name in ("busy", "busier"):
        stage.subscribe(name, types=["order.sent"])
        stage.receiver.paths[f"/{name}"] = after(0.1)
    stage.subscribe("good", types=["order.paid"])
    # More than waits in memory, and more than goes in the time of a run.
    stage.publish(*(f":{n}" for n in range(1000)), type="order.sent", priority=1)
    stage.publish("x:1", type="order.paid")
    together.run()
    assert stage.keys("good") == ["x:1"]


@pytest.mark.parametrize("owner", [None, "shop"])
def test_of_an_api_keys_many_who_have_more_than_a_run_takes_go_alone(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch, owner: str | None
) -> None:
    """However many they are; where all are the operator's, most have one backlog together."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.3)
    busy = ["busy", "busier", "busiest"]
    for name in busy:
        stage.subscribe(name, types=["order.sent"], made_by=owner)
        stage.receiver.paths[f"/{name}"] = after(0.01)
    stage.subscribe("good", types=["order.paid"])
    # What is usual is as quick, however slow this machine is.
    together.relay.request_loop.usual.seconds = 1.0
    stage.publish("x:1", type="order.paid")
    stage.publish(*(f"h:{n}" for n in range(1000)), type="order.sent")
    ran = together.run()
    assert stage.keys("good") == ["x:1"]
    assert sorted(name for name, one in ran.items() if one.alone) == (sorted(busy) if owner else [])


def test_a_run_of_one_cursor_sends_to_its_end(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bounds the wait of several for each other bounds nothing here."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.001)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.001)
    stage.subscribe("one")
    stage.receiver.paths["/one"] = after(0.01)
    stage.publish(*(f"g{n % 10}:{n}" for n in range(1, 101)))
    together.relay.round()
    assert len(stage.keys("one")) == 100
    assert stage.rows() == []


def test_a_run_that_others_wait_for_sends_for_a_moment_still_and_leaves_no_row(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "FEED_SECONDS", 30.0)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 30.0)
    stage.subscribe("hot")
    stage.receiver.paths["/hot"] = after(0.01)
    # One after the other, for ten seconds and more.
    stage.publish(*(f"h:{n}" for n in range(1, 1001)))
    together.runs.give_way(OTHERS)
    ran = together.run()
    assert 0 < len(stage.keys("hot")) < 500
    assert ran["hot"].progressed
    assert stage.rows() == []
    # What was asked for once does not shorten the next run.
    del stage.receiver.paths["/hot"]
    together.run()
    assert len(stage.keys("hot")) == 1000


@pytest.fixture
def slow_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page takes longer to be read than a run that others wait for has time to send."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.3)
    pages = Reading.pages

    def slowly(reading: Reading) -> Generator[list[Row]]:
        with closing(pages(reading)) as read:
            for page in read:
                time.sleep(0.4)
                yield page

    monkeypatch.setattr(Reading, "pages", slowly)


def test_a_run_that_others_wait_for_sends_what_it_reads_first_however_long_that_takes(
    stage: PushStage, together: Together, slow_log: None
) -> None:
    subscribe(stage, "a", "b")
    stage.publish("g:1")
    together.run()
    # From now on they stand at one place.
    stage.publish("g:2")
    together.runs.give_way(OTHERS)
    together.run()
    assert (stage.keys("a"), stage.keys("b")) == (["g:1", "g:2"], ["g:1", "g:2"])


def test_for_a_log_that_is_read_slowly_no_endpoint_goes_alone(
    stage: PushStage, together: Together, slow_log: None
) -> None:
    subscribe(stage, "a", "b", "c")
    for n in range(3):
        for priority in (1, 3, 5):
            stage.publish(f"{priority}:{n}", priority=priority)
        together.runs.give_way(OTHERS)
        ran = together.run()
        assert not any(one.alone for one in ran.values())
    together.drain()
    for name in ("a", "b", "c"):
        assert len(stage.keys(name)) == 9
    assert stage.rows() == []


def test_a_run_does_not_give_way_to_itself(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 30.0)
    stage.subscribe("hot")
    stage.receiver.paths["/hot"] = after(0.005)
    stage.publish(*(f"h:{n}" for n in range(1, 101)))
    together.runs.give_way({cursor.id for cursor in together.relay.probe()})
    together.run()
    assert len(stage.keys("hot")) == 100


def test_a_run_gives_way_to_those_in_it_that_have_nothing_left_to_do(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "FEED_SECONDS", 30.0)
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 30.0)
    # More than waits in memory: the run reads on as it goes.
    for module in (reading, shared):
        monkeypatch.setattr(module, "RUN_SECONDS", 30.0)
    for name in ("hot", "hotter"):
        stage.subscribe(name, types=["order.sent"])
        stage.receiver.paths[f"/{name}"] = after(0.01)
    stage.subscribe("good", types=["order.paid"])
    # From here on they stand at one place.
    stage.publish("x:0", type="order.lost")
    together.run()
    stage.publish("x:1", type="order.paid")
    stage.publish(*(f"h:{n}" for n in range(1, 1001)), type="order.sent")
    good = {one.id for one in together.relay.probe() if one.subscription == "good"}
    stop = threading.Event()

    def ask_for_more() -> None:
        while not stop.wait(0.05):
            if stage.keys("good"):
                together.runs.give_way(good)

    asking = threading.Thread(target=ask_for_more)
    asking.start()
    together.run()
    stop.set()
    asking.join()
    assert stage.keys("good") == ["x:1"]
    assert 0 < len(stage.keys("hot")) < 300


@pytest.mark.parametrize(
    ("usual_seconds", "others_requests", "most"), [(0.001, 0, 2), (5.0, 0, 8), (0.001, 100, 8)]
)
def test_while_a_shared_run_is_under_way_a_quick_endpoints_backlog_has_few_in_flight(
    stage: PushStage,
    together: Together,
    monkeypatch: pytest.MonkeyPatch,
    usual_seconds: float,
    others_requests: int,
    most: int,
) -> None:
    """Where answers take long, the loop has time for as many as there are slots. And where it is
    another owner that fills the loop, it is not for this one to give way.
    """
    taken: list[int] = []
    take = Slots.take

    def counted(slots: Slots, size: int, *, retry: bool) -> None:
        take(slots, size, retry=retry)
        taken.append(slots.capacity - slots.free)

    monkeypatch.setattr(Slots, "take", counted)
    subscription_id = stage.subscribe("behind", concurrency=8)
    stage.publish(*(f"g{n}:1" for n in range(50)))
    request_loop = together.relay.request_loop
    request_loop.usual.note(subscription_id, usual_seconds)
    request_loop.usual.seconds = 0.001
    request_loop.has_shared_run = True
    other = request_loop.slots(0, "another")
    for _ in range(others_requests):
        other.take(0, retry=False)
    taken.clear()
    together.relay.round()
    for _ in range(others_requests):
        other.give_back(0, retry=False)
    assert max(taken) == most
    assert len(stage.keys("behind")) == 50
