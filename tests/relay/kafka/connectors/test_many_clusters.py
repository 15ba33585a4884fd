"""Many clusters that connectors name: none takes a place from the environment's or another key's.

Here a cluster is told from another by the words that name it: each has a second broker besides,
which is not there.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg.types.json import Jsonb

from local import kafka as local_kafka
from local.program import Program
from relay.kafka.cluster import MAX_OWNERS, kafka_sink
from relay.kafka.producers import Producers
from relay.kafka.reports import Reports
from relay.log.cursor import SinkSettings
from relay.process.heartbeat import Heartbeat
from relay.settings import Settings
from tests.eventually import eventually
from tests.relay.connector_stage import ConnectorStage
from tests.relay.stage import Stage
from tests.relay.stuck import asked, start

pytestmark = pytest.mark.nightly

pytest_plugins = ["tests.relay.connector_fixtures", "tests.relay.stage_fixtures"]

CONNECT: LiteralString = """
select outbox.connect(%s, %s, 'kafka', %s, shards => %s, delivery => %s, made_by => %s)
"""
# From a commit to the arrival while other clusters do not answer.
MAX_SECONDS = 5.0
# The relay's own threads and those of its own cluster; and a session's, which has 7 to 12.
OWN_THREADS, SESSION_THREADS = 40, 12


@pytest.fixture
def silent() -> Iterator[str]:
    """host:port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def connect(
    stage: Stage,
    name: str,
    brokers: str,
    *,
    topic: str = "",
    shards: int = 1,
    delivery: str = "at_least_once",
    made_by: str | None = None,
) -> None:
    config = {"brokers": brokers, **({"topic": topic} if topic else {})}
    with stage.database() as connection:
        connection.execute(CONNECT, (name, "orders", Jsonb(config), shards, delivery, made_by))


def another(brokers: str, number: int) -> str:
    """The same cluster in other words."""
    return f"{brokers},127.0.0.1:{number + 1}"


def threads(relay: Program) -> int:
    assert relay._process is not None
    return len(list(Path(f"/proc/{relay._process.pid}/task").iterdir()))


def test_silent_clusters_hold_up_neither_the_first_nor_another_keys(
    bridge: ConnectorStage, silent: str
) -> None:
    """As many as two keys may name."""
    bridge.create_topic("orders")
    topic = f"{bridge.topic_prefix}warehouse"
    local_kafka.create_topic(bridge.other.bootstrap_servers, topic)
    for n in range(10):
        made_by = ("greedy", "another")[n % 2]
        connect(bridge, f"silent-{n}", another(silent, n), made_by=made_by)
    bridge.publish(10, "orders")
    relay = bridge.relay()
    bridge.waits_for("silent-3")
    connect(bridge, "warehouse", bridge.other.bootstrap_servers, topic=topic, made_by="shop")
    most = 0
    for n in range(2, 8):
        bridge.publish(10, "orders")

        def there(n: int = n) -> None:
            nonlocal most
            most = max(most, threads(relay))
            assert len(bridge.arrivals("orders")) == n * 10
            assert len(bridge.beyond(topic)) == (n - 1) * 10

        eventually(there, MAX_SECONDS)
    assert most <= OWN_THREADS + 11 * SESSION_THREADS


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_as_many_as_the_quota_allows_have_their_sessions_at_once(
    bridge: ConnectorStage, delivery: str
) -> None:
    bridge.without_the_first()
    topics = [f"{bridge.topic_prefix}{n}" for n in range(20)]
    for n, topic in enumerate(topics):
        local_kafka.create_topic(bridge.other.bootstrap_servers, topic)
        brokers = another(bridge.other.bootstrap_servers, n)
        connect(bridge, f"warehouse-{n}", brokers, topic=topic, delivery=delivery)
    bridge.publish(200, "orders")
    assert bridge.relay("--once").wait(120) == 0
    for topic in topics:
        bridge.arrived_beyond("orders", topic, once=True)


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_those_beyond_a_lowered_quota_say_so_and_go_on_where_it_is_raised(
    bridge: ConnectorStage, delivery: str
) -> None:
    """The first one goes on all the time, whether they share its session or not."""
    bridge.without_the_first()
    topics = [bridge.connect(f"warehouse-{n}", "orders", delivery=delivery) for n in range(3)]
    relay = bridge.relay()
    bridge.publish(10, "orders")
    for topic in topics:
        bridge.arrived_beyond("orders", topic, once=True)
    bridge.execute("update outbox.quota set connectors = 1")

    def are_refused() -> None:
        bridge.publish(1, "orders")
        reasons = [reason for (reason,) in bridge.query(REASONS) if reason]
        assert len(reasons) == 2
        assert all("outbox.quota" in reason for reason in reasons)

    eventually(are_refused, 30)
    bridge.publish(10, "orders", group="later")

    def later(topic: str) -> int:
        return sum(one.key is not None and b"later" in one.key for one in bridge.beyond(topic))

    def first_has_all() -> None:
        assert later(topics[0]) == 10

    eventually(first_has_all, 30)
    assert [later(topic) for topic in topics] == [10, 0, 0]
    assert '"connectors_get_no_session"' in relay.output()
    bridge.execute("update outbox.quota set connectors = 3")
    for topic in topics:
        bridge.arrived_beyond("orders", topic, once=True)


def test_once_ends_where_clusters_are_away(bridge: ConnectorStage) -> None:
    bridge.without_the_first()
    for n in range(19):
        connect(bridge, f"away-{n}", f"127.0.0.1:{n + 1}")
    topic = bridge.connect("warehouse", "orders")
    bridge.publish(10, "orders")
    relay = bridge.relay("--once")
    assert relay.wait(120) == 1
    assert len(bridge.beyond(topic)) == 10
    assert relay.output().count('"cannot_go"') >= 19


def test_a_connector_that_moves_to_the_first_cluster_and_back_is_followed(
    bridge: ConnectorStage,
) -> None:
    """What was noted stands in each of them: nothing of it is lost, and nothing comes again."""
    bridge.without_the_first()
    topic = bridge.connect("warehouse", "orders", delivery="exactly_once")
    relay = bridge.relay()
    bridge.publish(10, "orders")
    bridge.arrived_beyond("orders", topic, once=True)
    bridge.create_topic("orders")
    bridge.execute(
        "update outbox.subscription set settings = settings - 'brokers' - 'topic'"
        " where name = 'warehouse'"
    )
    bridge.publish(10, "orders")

    def there() -> None:
        assert len(bridge.arrivals("orders")) == 10

    eventually(there, 30)
    bridge.execute(
        "update outbox.subscription set settings = %s where name = 'warehouse'",
        Jsonb({"brokers": bridge.other.bootstrap_servers, "topic": topic}),
    )
    bridge.publish(10, "orders")

    def back() -> None:
        assert len(bridge.beyond(topic)) == 20

    eventually(back, 30)
    assert len(bridge.arrivals("orders")) == 10
    told = relay.output()
    # At the way back there is a note of its own.
    assert told.count('"kafka_cursor_moved"') == 1
    assert "kafka_cursor_lost" not in told
    assert "kafka_cursor_refused" not in told


def test_of_more_cursors_than_it_may_a_session_owns_those_of_the_latest_runs(
    kafka: str, topic_prefix: str
) -> None:
    wanted = SinkSettings("exactly_once", cluster=json.dumps({"brokers": kafka}))
    settings = Settings(database_url="postgresql://h/d", kafka={}, allow_hosts="127.0.0.0/8")
    sink = kafka_sink(settings, threading.Event(), Heartbeat(), wanted)
    transactions = sink.transactions
    assert transactions is not None
    names = [f"{topic_prefix}{n}" for n in range(MAX_OWNERS + 2)]
    try:
        for name in names:
            transactions.fence(name)
            transactions.own(1)
            # The first one goes on, time and again.
            assert name == names[0] or transactions.take(names[0], 1)
        owned = [name for name in names if transactions.take(name, 1)]
    finally:
        sink.close()
    assert owned == [names[0], *names[3:]]


def test_however_many_limits_topics_have_there_are_few_producers() -> None:
    reports = Reports(1.0, threading.Event(), Heartbeat())
    for few, number in ((True, 3), (False, 6)):
        producers = Producers({"bootstrap.servers": "127.0.0.1:1"}, reports, few=few)
        sizes = (1_000_000, 999_999, 500_000, 100_000, 12, 10)
        assert len({id(producers.get(size)) for size in sizes}) == number
        producers.close()


def test_connectors_whose_calls_do_not_return_wait_and_the_relay_goes_on(
    stage: Stage, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """There are more of them than threads that may stand so in calls to the first cluster."""
    stage.execute("select outbox.delete_subscription('kafka', true)")
    topic = stage.create_topic("orders")
    for n in range(6):
        connect(stage, f"warehouse-{n}", another(stage.bootstrap_servers, n), topic=topic)
    environment = stage.environment(
        RELAY_BARRIER_SECONDS="1",
        RELAY_PORT=str(free_port()),
        RELAY_ALLOW_HOSTS="127.0.0.0/8",
    )
    with start(tmp_path, environment, "flush", 1_000_000) as relay:
        stage.publish(10, "orders")

        def wait() -> None:
            reasons = [reason for (reason,) in stage.query(REASONS)]
            assert len(reasons) == 6
            assert all("a call to this cluster does not return" in str(one) for one in reasons)

        eventually(wait, 90)
        assert relay.running
        status, told = asked(relay, "/healthz")
        assert status == 200, told
        metrics = asked(relay, "/metrics")[1]
        assert "outbox_relay_abandoned_connector_threads 6.0" in metrics
        assert "outbox_relay_abandoned_threads 0.0" in metrics
    assert relay.output().count('"call_does_not_return"') == 6


REASONS = "select waiting_reason from outbox.subscription where name ~ '^warehouse'"
