"""kill -9, at any moment and again and again."""

from collections.abc import Callable
from random import Random

import pytest

from tests.eventually import eventually
from tests.relay.stage import Stage
from tests.relay.writers import writing

pytestmark = pytest.mark.long

pytest_plugins = ["tests.relay.stage_fixtures"]

KILLS = 12


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


@pytest.mark.parametrize(
    ("times", "messages"), [(2, 120_000), pytest.param(4, 250_000, marks=pytest.mark.nightly)]
)
def test_kills_while_a_backlog_is_worked_off_lose_nothing_and_keep_the_order(
    stage: Stage, times: int, messages: int, record_property: Callable[[str, object], None]
) -> None:
    random = Random(9)
    stage.create_topic("orders")
    stage.publish(messages, "orders", groups=50)
    relay = stage.relay()
    for _ in range(times):
        moved_on(stage, 1)
        # Somewhere in the next run, which takes a tenth of a second or more.
        stage.query("select pg_sleep(%s)", random.uniform(0, 0.1))
        relay.kill()
        relay.launch()
    (reckoning,) = stage.all_arrived("orders", timeout_seconds=60)
    record_property("repeats", reckoning.repeats)


LATEST = """
select k.relay, clock_timestamp() from outbox.checkpoint k
join outbox.cursor c on c.id = k.cursor_id
where c.priority = 3 order by k.n desc limit 1
"""
SINCE = """
select extract(epoch from min(created_at) - %s)::float8 from outbox.checkpoint
where relay = %s and created_at > %s
"""
CONNECTED = """
select from pg_stat_activity
where datname = current_database() and application_name = 'outbox-relay ' || %s
"""
TAKEOVERS = 4


def test_the_work_of_a_killed_relay_is_taken_over_at_once(
    stage: Stage, record_property: Callable[[str, object], None]
) -> None:
    stage.create_topic("orders")
    relays = {name: stage.relay(RELAY_NAME=name) for name in ("a", "b")}
    seconds: list[float] = []

    def both_at_work() -> tuple[str, object]:
        assert all(stage.query(CONNECTED, name) for name in relays)
        [(last, now)] = stage.query(LATEST)
        assert last in relays
        return last, now

    with writing(stage.database_url, "orders", seed=10, writers=2):
        for _ in range(TAKEOVERS):
            # The relay that worked last is the one to kill.
            victim, at = eventually(both_at_work, 30)
            relays[victim].kill()
            heir = "b" if victim == "a" else "a"

            def taken_over(heir: str = heir, at: object = at) -> float:
                [(after,)] = stage.query(SINCE, at, heir, at)
                assert after is not None
                return float(after)

            seconds.append(eventually(taken_over, 20))
            relays[victim].launch()
    record_property("takeover_seconds", [round(one, 3) for one in seconds])
    print(f"taken over after {', '.join(f'{one:.3f}' for one in seconds)} s")
    assert max(seconds) < 5
    stage.all_arrived("orders")
