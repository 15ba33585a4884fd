"""kill -9, at any moment and again and again."""

import time
from collections.abc import Callable
from random import Random

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.relay.stage import Stage
from tests.relay.writers import writing

pytest_plugins = ["tests.relay.stages"]

KILLS = 24


def moved_on(stage: Stage, checkpoints: int) -> None:
    """Waits for so many further checkpoints: a moment to strike at, in the relays' own time."""
    before = stage.checkpoints()

    def there() -> None:
        assert stage.checkpoints() >= before + checkpoints

    eventually(there, 30)


# Each life of a relay costs a second or two where the machine is busy.
@pytest.mark.timeout(300)
def test_random_kills_of_two_relays_under_load_lose_nothing_and_keep_the_order(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    random = Random(8)
    stage.create_topic("orders")
    relays = [stage.relay(RELAY_NAME="a"), stage.relay(RELAY_NAME="b")]
    with writing(stage.database_url, "orders", seed=8):
        for _ in range(KILLS):
            moved_on(stage, random.randint(1, 12))
            victim = random.choice(relays)
            victim.kill()
            victim.launch()
    (reckoning,) = stage.all_arrived("orders", timeout_seconds=60)
    assert stage.dead_letters() == []
    record_property("kills", KILLS)
    record_property("repeats", reckoning.repeats)


def test_kills_while_a_backlog_is_worked_off_lose_nothing_and_keep_the_order(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    random = Random(9)
    stage.create_topic("orders")
    stage.publish(100_000, "orders", groups=50, size=200)
    relay = stage.relay()
    kills = 0
    while kills < 4:
        moved_on(stage, 1)
        # Somewhere in the next run, which takes a tenth of a second or more.
        stage.query("select pg_sleep(%s)", random.uniform(0, 0.1))
        relay.kill()
        kills += 1
        relay.launch()
    (reckoning,) = stage.all_arrived("orders", timeout_seconds=60)
    record_property("repeats", reckoning.repeats)


LATEST = """
select k.relay from outbox.checkpoint k join outbox.cursor c on c.id = k.cursor_id
where c.priority = 3 order by k.n desc limit 1
"""
CONNECTED = "select count(*) from pg_stat_activity where application_name like 'outbox-relay b%%'"


def test_the_work_of_a_killed_relay_is_taken_over_at_once(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    stage.create_topic("orders")

    def last_was(relay: str) -> None:
        assert stage.query(LATEST) == [(relay,)]

    def other_is_there() -> None:
        assert stage.query(CONNECTED)[0][0] > 0

    first: Program = stage.relay(RELAY_NAME="a")
    with writing(stage.database_url, "orders", seed=10, writers=2):
        eventually(lambda: last_was("a"), 20)
        stage.relay(RELAY_NAME="b")
        eventually(other_is_there, 20)
        eventually(lambda: last_was("a"), 20)
        first.kill()
        killed_at = time.monotonic()
        eventually(lambda: last_was("b"), 20)
        seconds = time.monotonic() - killed_at
    record_property("takeover_seconds", round(seconds, 3))
    print(f"taken over after {seconds:.3f} s")
    assert seconds < 5
    stage.all_arrived("orders")
