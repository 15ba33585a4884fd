"""Endpoints whose subscriptions follow the log together: each as if it were alone."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from random import Random

import pytest
from psycopg import errors

from relay.database import connect
from relay.log import reading, shared
from relay.log.message import Row
from relay.log.reading import RUN_MESSAGES, Reading
from relay.log.run import Ran
from relay.push.http.client import Client
from relay.push.lease import Lease
from relay.push.requests import sending
from relay.push.requests.loop import BEHIND_SECONDS
from relay.push.requests.sending import Sending
from relay.push.requests.slots import Slots
from relay.push.requests.usual_time import UsualTime
from relay.push.shared_runs import SharedPushRuns
from tests.eventually import eventually
from tests.receiver import after, hang, respond
from tests.relay.push.stage import LATER, Answers, PushRelay, PushStage, inversions
from tests.sql.log import one

CHECKPOINTS = """
select count(distinct xmin::text), count(*) from outbox.checkpoint
where messages > 0 and relay <> ''
"""
NO_SECRET = """
delete from outbox.secret where subscription_id = (
    select id from outbox.subscription where name = %s)
"""


# Of cursors that are in no run.
OTHERS = {-1}


class Together:
    """A relay's runs of many."""

    def __init__(self, relay: PushRelay) -> None:
        self.relay = relay
        self.connection = connect(relay.settings)
        self.runs = SharedPushRuns(
            self.connection, relay.request_loop, relay.settings, relay.telemetry
        )

    def run(self, limit: int = RUN_MESSAGES, *, again: bool = False) -> dict[str, Ran]:
        """One run of all that have work, by the subscription's name, of the last of its cursors."""
        cursors = self.relay.probe()
        ran = self.runs.run(cursors, limit, again=again) if cursors else {}
        return {one.subscription: ran[one.id] for one in cursors if one.id in ran}

    def drain(self) -> None:
        """Runs until nothing more goes together."""
        while any(one.progressed for one in self.run().values()):
            pass


class AlmostThere:
    """A request loop for which every moment is so near that it makes no timer of it, as uvloop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)

    def call_at(self, _: float, callback: Callable[..., object], *given: object) -> asyncio.Handle:
        return self._loop.call_soon(callback, *given)


@pytest.fixture
def together(relay: PushRelay) -> Iterator[Together]:
    shared = Together(relay)
    yield shared
    shared.connection.close()


@pytest.fixture
def impatience(together: Together, monkeypatch: pytest.MonkeyPatch) -> None:
    """All answer at once but one, which is waited for a moment."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.5)


def subscribe(stage: PushStage, *names: str) -> None:
    """They stand at one place."""
    for name in names:
        stage.subscribe(name)


def test_one_message_comes_to_all_in_one_run_and_leaves_no_row(
    stage: PushStage, together: Together
) -> None:
    names = [f"s{n}" for n in range(10)]
    subscribe(stage, *names)
    stage.publish("a:1", "a:2", ":3")
    ran = together.run()
    for name in names:
        assert sorted(stage.keys(name)) == [":3", "a:1", "a:2"]
        assert stage.keys(name).index("a:1") < stage.keys(name).index("a:2")
    assert all(one.progressed and one.exhausted and not one.alone for one in ran.values())
    assert stage.rows() == []
    assert stage.db.execute(CHECKPOINTS).fetchone() == (1, 10)
    assert not together.relay.request_loop.has_shared_run


def test_one_that_hangs_is_waited_for_a_moment_and_then_goes_alone(
    stage: PushStage, together: Together, impatience: None
) -> None:
    subscribe(stage, "good", "better", "hangs")
    stage.receiver.paths["/hangs"] = hang
    stage.publish("a:1", "a:2")
    ran = together.run()
    assert [name for name, one in ran.items() if one.alone] == ["hangs"]
    assert (stage.keys("good"), stage.keys("better")) == (["a:1", "a:2"], ["a:1", "a:2"])
    # Its first is in flight, its second in the log; the others have no row.
    assert [state for _, _, state in stage.rows()] == ["in flight"]
    stage.publish("a:3")
    ran = together.run()
    assert (ran["hangs"].alone, ran["hangs"].progressed) == (True, False)
    assert stage.keys("good") == ["a:1", "a:2", "a:3"]


def test_a_run_is_over_for_all_though_the_time_of_some_ends_in_this_moment(
    stage: PushStage,
    together: Together,
    impatience: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faults: list[object] = []
    request_loop = together.relay.request_loop
    request_loop.loop.set_exception_handler(lambda _, fault: faults.append(fault))
    monkeypatch.setattr(request_loop, "loop", AlmostThere(request_loop.loop))
    ends_at = time.monotonic() + 1.0
    monkeypatch.setattr(sending.Sending, "tail_ends_at", lambda *_: ends_at)
    subscribe(stage, "good", "hangs", "stands", "sleeps")
    stage.receiver.paths |= dict.fromkeys(["/hangs", "/stands", "/sleeps"], hang)
    stage.publish("a:1", "a:2")
    ran = together.run()
    assert faults == []
    assert sorted(name for name, one in ran.items() if one.alone) == ["hangs", "sleeps", "stands"]


def test_one_that_answers_late_goes_alone_and_nothing_of_it_is_lost(
    stage: PushStage, together: Together, impatience: None
) -> None:
    subscribe(stage, "good", "slow")
    stage.receiver.paths["/slow"] = after(1.0)
    stage.publish("a:1", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["slow"].alone) == (False, True)
    together.relay.end()
    assert sorted(stage.keys("slow")) == ["a:1", "b:1"]


def test_one_that_fails_has_its_rows_and_the_others_have_none(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good")
    stage.subscribe("fails", retry=LATER)
    stage.receiver.paths["/fails"] = respond(500)
    stage.publish("a:1", "a:2", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["fails"].alone) == (False, True)
    assert sorted(stage.rows()) == [
        ("a:1", 1, "retry"),
        ("a:2", 0, "behind"),
        ("b:1", 1, "retry"),
    ]
    assert ran["fails"].progressed


LARGE = """
insert into outbox.message (channel, type, group_key, idempotency_key, payload)
select 'orders', 'order.paid', 'a', 'a:1', convert_to(repeat('x', %s), 'UTF8')
"""


def test_what_can_not_be_sent_and_is_too_large_for_others_to_wait_for_is_given_up_alone(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good")
    stage.subscribe("small", max_payload_bytes=1000)
    stage.db.execute(LARGE, [900_000])
    stage.publish("a:2", "b:1")
    ran = together.run()
    assert (ran["good"].alone, ran["small"].alone) == (False, True)
    assert (sorted(stage.keys("good")), stage.keys("small")) == (["a:1", "a:2", "b:1"], [])
    assert (stage.dead_letters(), stage.rows()) == ([], [])
    together.relay.drain()
    assert stage.dead_letters() == [("a:1", "payload_too_large", None, 0, False, False)]
    assert sorted(stage.keys("small")) == ["a:2", "b:1"]


def test_what_was_refused_and_is_too_large_for_others_to_wait_for_is_given_up_alone(
    stage: PushStage, together: Together
) -> None:
    """It was sent once, and that counts."""
    subscribe(stage, "good")
    stage.subscribe("refuses", retry={"schedule_seconds": [], "jitter": 0})
    stage.receiver.paths["/refuses"] = answers = Answers().give("a:1", respond(500))
    stage.db.execute(LARGE, [900_000])
    stage.publish("a:2")
    ran = together.run()
    assert (ran["good"].alone, ran["refuses"].alone) == (False, True)
    assert (stage.dead_letters(), len(stage.rows())) == ([], 1)

    def given_up() -> None:
        together.relay.drain()
        assert stage.dead_letters() == [("a:1", "http_500", "1 attempts", 1, False, False)]
        assert answers.accepted == ["a:2"]

    eventually(given_up)
    assert stage.keys("refuses") == ["a:1", "a:2"]
    assert stage.count("select count(*) from outbox.attempt where error is not null") == 1
    assert stage.rows() == []


def test_of_an_owners_dead_letters_others_wait_for_so_many_bytes_however_many_endpoints_it_has(
    stage: PushStage, together: Together
) -> None:
    for n in range(4):
        stage.subscribe(f"greedy-{n}", max_payload_bytes=1000, made_by="greedy")
    stage.subscribe("own", max_payload_bytes=1000)
    stage.db.execute(LARGE, [100_000])
    together.run()
    assert len(stage.dead_letters()) == 3
    together.relay.drain()
    assert len(stage.dead_letters()) == 5


@pytest.mark.parametrize("what", ["rate", "secret", "head", "breaker"])
def test_what_is_not_simple_is_left_to_go_alone(
    stage: PushStage, together: Together, what: str
) -> None:
    subscribe(stage, "good")
    stage.subscribe("odd", retry=LATER)
    if what == "rate":
        stage.settle("odd", rate_per_second=5)
    if what == "secret":
        stage.db.execute(NO_SECRET, ["odd"])
    if what == "head":
        stage.receiver.paths["/odd"] = respond(500)
        stage.publish("z:1")
        together.relay.drain()
        del stage.receiver.paths["/odd"]
    if what == "breaker":
        stage.db.execute(
            "update outbox.breaker set failing_since = now(), opened_at = now(),"
            " retry_at = now()"
            " where subscription_id = (select id from outbox.subscription where name = 'odd')"
        )
    before = stage.keys("odd")
    stage.publish("a:1")
    ran = together.run()
    assert (ran["odd"].alone, ran["odd"].progressed) == (True, False)
    assert ran["good"].progressed
    assert stage.keys("odd") == before


def test_a_group_that_is_parked_is_not_passed(stage: PushStage, together: Together) -> None:
    subscribe(stage, "good")
    stage.subscribe("parks", retry={"schedule_seconds": [], "jitter": 0}, on_exhausted="park")
    stage.receiver.paths["/parks"] = respond(500)
    stage.publish("a:1")
    together.relay.drain()
    assert [state for _, _, state in stage.rows()] == ["parked"]
    del stage.receiver.paths["/parks"]
    stage.publish("a:2", "b:1")
    assert together.run()["parks"].alone
    together.relay.drain()
    assert stage.keys("parks") == ["a:1", "b:1"]


def test_all_priorities_of_a_subscription_go_in_one_run_the_urgent_first(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")
    # The one slot is for the urgent message, and then for the other.
    stage.settle("good", concurrency=1)
    for priority in (5, 3, 1):
        stage.publish(f"{priority}:1", f"{priority}:2", priority=priority)
    together.run()
    assert stage.keys("good") == ["1:1", "1:2", "3:1", "3:2", "5:1", "5:2"]
    assert sorted(stage.keys("better")) == sorted(stage.keys("good"))
    assert together.relay.probe() == []
    assert stage.rows() == []


def test_each_gets_the_types_that_it_wants(stage: PushStage, together: Together) -> None:
    subscribe(stage, "all")
    stage.subscribe("paid", types=["order.paid"])
    stage.subscribe("sent", types=["order.sent"])
    stage.publish("a:1", type="order.paid")
    stage.publish("a:2", type="order.sent")
    stage.publish("a:3", type="order.lost")
    together.run()
    assert stage.keys("all") == ["a:1", "a:2", "a:3"]
    assert (stage.keys("paid"), stage.keys("sent")) == (["a:1"], ["a:2"])
    assert together.relay.probe() == []


def test_a_run_that_ends_early_passes_over_nothing_that_was_not_sent(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By time, in the middle of the log, with filters that leave most out."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.05)
    subscribe(stage, "all")
    stage.subscribe("few", types=["order.sent"])
    random = Random(7)
    written: list[tuple[str, str]] = []
    for n in range(1, 601):
        kind = "order.sent" if random.random() < 0.05 else "order.paid"
        written.append((f"g{n % 7}:{n}", kind))
        stage.publish(written[-1][0], type=kind)
    together.drain()
    for _ in range(200):
        if not together.relay.round():
            break
        stage.let_time_pass()
    assert sorted(set(stage.keys("all"))) == sorted(key for key, _ in written)
    sent = [key for key, kind in written if kind == "order.sent"]
    assert sorted(set(stage.keys("few"))) == sorted(sent)
    assert inversions(stage.keys("all")) == []


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


@pytest.mark.parametrize("has_rows", [False, True])
def test_a_changed_schedule_takes_effect_alone(
    stage: PushStage, together: Together, has_rows: bool
) -> None:
    stage.subscribe("changed", retry=LATER)
    stage.subscribe("other")
    if has_rows:
        stage.receiver.paths["/changed"] = respond(500)
    stage.publish("a:1")
    together.run()
    stage.settle("changed", retry={"schedule_seconds": [0], "jitter": 0})
    assert together.run()["changed"].alone
    stage.receiver.paths.clear()
    together.relay.drain()
    assert together.relay.probe() == []
    assert stage.rows() == []


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


def test_those_that_make_others_wait_run_after_run_go_alone(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message but one is answered at once, and the last one before it would get a row."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.5)
    subscribe(stage, "good", "better")
    for name in ("evil", "worse"):
        stage.subscribe(name, types=["evil"])
        stage.receiver.paths[f"/{name}"] = lambda request: (
            after(0.15) if request.header("idempotency-key").startswith("slow") else respond()
        )
    # Whatever this machine does meanwhile, answers take no time as a rule.
    monkeypatch.setattr(UsualTime, "note", lambda *_: None)
    together.relay.request_loop.usual.seconds = 0.0
    left = set[str]()
    for n in range(5):
        stage.publish(*(f":{n}-{m}" for m in range(14)), f"slow:{n}", type="evil")
        ran = together.run()
        left |= {name for name, one in ran.items() if one.alone}
    assert left == {"evil", "worse"}
    assert stage.rows() == []


def test_of_a_run_whose_checkpoint_another_relay_wrote_nothing_counts(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")

    def overtake(_: object) -> bytes:
        stage.db.execute(
            "insert into outbox.checkpoint (cursor_id, n, seen, relay)"
            " select k.cursor_id, k.n + 1, k.seen, '' from outbox.checkpoint k"
            " join outbox.cursor c on c.id = k.cursor_id"
            " join outbox.subscription s on s.id = c.subscription_id"
            " where s.name = 'better' and c.priority = 3 order by k.n desc limit 1"
        )
        return respond()

    stage.receiver.paths["/better"] = overtake
    stage.publish("a:1")
    with pytest.raises(errors.UniqueViolation):
        together.run()
    del stage.receiver.paths["/better"]
    together.run()
    assert stage.keys("good") == ["a:1", "a:1"]


def test_failing_and_healthy_ones_together_keep_every_groups_order(
    stage: PushStage, together: Together
) -> None:
    names = [f"s{n}" for n in range(4)]
    subscribe(stage, *names)
    answers = {name: Answers() for name in names}
    random = Random(11)
    keys = [f"g{n % 5}:{n}" for n in range(1, 121)]
    for name in names[:2]:
        for key in keys:
            if random.random() < 0.2:
                answers[name].give(key, respond(500), respond())
    stage.receiver.paths.update({f"/{name}": answers[name] for name in names})
    for begin in range(0, len(keys), 10):
        stage.publish(*keys[begin : begin + 10])
        together.run()
        together.relay.round()
    stage.let_time_pass()
    together.relay.drain()
    for name in names:
        assert sorted(answers[name].accepted) == sorted(keys)
        assert inversions(answers[name].accepted) == []
    assert stage.rows() == []


def test_the_next_run_is_claimed_with_the_end_of_the_last(
    stage: PushStage, together: Together
) -> None:
    subscribe(stage, "good", "better")
    published = [False]

    def more(_: object) -> bytes:
        if not published[0]:
            published[0] = True
            stage.publish("a:2")
        return respond()

    stage.receiver.paths["/good"] = more
    stage.publish("a:1")
    ran = together.run(again=True)
    assert all(one.begun for one in ran.values())
    held = one(
        stage.db,
        "select count(*) from outbox.cursor where id not in (select id from outbox.cursor"
        " for no key update skip locked)",
    )
    assert held == 2
    ran = together.run(again=True)
    assert not any(one.begun for one in ran.values())
    assert stage.keys("better") == ["a:1", "a:2"]


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


def test_an_answer_that_is_there_when_a_late_loop_ends_the_wait_for_it_has_come_in_time(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stands still at one's answer; then another's is there, and the time is over."""
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 1.0)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 1.0)
    stage.subscribe("first")
    stage.subscribe("second")
    stage.receiver.paths["/second"] = after(0.3)
    answered = Sending.answered
    stood: list[float] = []

    def stand(run: Sending, seconds: float) -> None:
        answered(run, seconds)
        if not stood:
            stood.append(seconds)
            time.sleep(1.5)

    monkeypatch.setattr(Sending, "answered", stand)
    stage.publish("a:1")
    ran = together.run()
    assert (stage.rows(), ran["second"].alone) == ([], False)


def test_where_the_loop_comes_late_an_answer_has_so_much_longer(together: Together) -> None:
    """A request waits for its turn, and its answer for another."""
    request_loop = together.relay.request_loop
    run = Sending(request_loop, Lease(together.connection, 60, 0.0), shared=True)
    request_loop.usual.seconds = usual = 0.001
    assert run._soon_seconds == sending.TAIL_ANSWERS * usual
    beaten = threading.Event()

    def beat_late() -> None:
        request_loop._beat_after(request_loop.loop.time() - 0.03)
        beaten.set()

    request_loop.loop.call_soon_threadsafe(beat_late)
    assert beaten.wait(10)
    assert run._soon_seconds == pytest.approx(sending.TAIL_ANSWERS * usual + 2 * 0.03, rel=0.01)


def test_where_handshakes_wait_the_loop_is_behind_though_it_gets_round_in_time(
    together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_loop = together.relay.request_loop
    late_seconds = BEHIND_SECONDS
    monkeypatch.setattr(Client, "late_seconds", property(lambda _: late_seconds))
    seen: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def beat() -> None:
        request_loop._beat_after(request_loop.loop.time())
        seen.put(request_loop.is_behind)

    request_loop.loop.call_soon_threadsafe(beat)
    assert not seen.get(timeout=10)
    late_seconds *= 2
    request_loop.loop.call_soon_threadsafe(beat)
    assert seen.get(timeout=10)


def test_where_one_end_is_due_at_once_the_others_end_as_well(
    stage: PushStage, together: Together, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop makes no timer of what is due at once, and such a handle knows no time."""
    monkeypatch.setattr(sending, "FEED_SECONDS", 0.02)
    monkeypatch.setattr(sending, "SHARED_TAIL_SECONDS", 0.2)
    monkeypatch.setattr(sending, "MAX_SHARED_TAIL_SECONDS", 0.1)
    end_tail = Sending._end_tail

    def with_one_at_once(run: Sending) -> None:
        run._batches[0]._look_again_at(run._loop.time())
        end_tail(run)

    monkeypatch.setattr(Sending, "_end_tail", with_one_at_once)
    for name in ("a", "b", "c"):
        stage.receiver.paths[f"/{name}"] = hang
        stage.subscribe(name, timeout_seconds=5)
    stage.publish("m:1")
    together.run()
    assert stage.count("select count(*) from outbox.delivery where token is not null") == 3
