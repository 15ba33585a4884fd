"""Metrics count what happened; health tells whether the loop turns, readiness whether it may."""

import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection

import psycopg
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from relay.daemon import relay, retention
from relay.monitoring import server as status_server
from relay.monitoring.server import StatusServer
from relay.monitoring.telemetry import (
    LAG_BUCKETS_SECONDS,
    LONGEST_LABEL,
    MAX_NEW_NAMES,
    MAX_WAITING_CHANNELS,
    OTHERS,
    Telemetry,
)
from relay.settings import SettingsError
from tests.conftest import CreateTopic, PostgresServer, Spawn
from tests.eventually import eventually
from tests.relay.operating import publish, settings

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
Serve = Callable[[str, Telemetry], StatusServer]


def samples(telemetry: Telemetry) -> Samples:
    """Every sample by its name and labels."""
    text = generate_latest(telemetry.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def serve(free_port: Callable[[], int]) -> Iterator[Serve]:
    """Starts a status server for a database; closed in the end."""
    with ExitStack() as servers:

        def start(database_url: str, telemetry: Telemetry) -> StatusServer:
            port = str(free_port())
            server = status_server.start(settings(database_url, RELAY_PORT=port), telemetry)
            assert server is not None
            servers.callback(server.close)
            return server

        yield start


def get(server: StatusServer, path: str, method: str = "GET") -> tuple[int, str]:
    return ask(server.port, path, method)


def ask(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_lag_histogram_counts_as_one_by_one_would() -> None:
    chance = random.Random(7)
    telemetry = Telemetry()
    lags: list[int] = []
    for _ in range(3):
        acknowledged_at = chance.randrange(10**15, 10**16)
        run = [chance.choice([900, 1_000, 2_500, 40_000, 7_000_000, 10**12]) for _ in range(50)]
        lags += run
        created_at = [acknowledged_at - lag for lag in run]
        telemetry.run_done(
            "kafka",
            messages=50,
            bytes=1,
            seconds=0.1,
            created_at=created_at,
            acknowledged_at=acknowledged_at,
        )
    shown = samples(telemetry)
    for bound in LAG_BUCKETS_SECONDS:
        labels = (("le", str(bound)), ("subscription", "kafka"))
        within = sum(lag <= bound * 1_000_000 for lag in lags)
        assert shown["outbox_relay_lag_seconds_bucket", labels] == within
    kafka = (("subscription", "kafka"),)
    assert shown["outbox_relay_lag_seconds_count", kafka] == len(lags)
    assert shown["outbox_relay_lag_seconds_sum", kafka] == pytest.approx(sum(lags) / 1e6)


def test_a_clock_that_was_set_back_lowers_no_counter() -> None:
    telemetry = Telemetry()
    telemetry.run_done(
        "kafka", messages=1, bytes=1, seconds=-1.0, created_at=[2_000_000], acknowledged_at=0
    )
    kafka = (("subscription", "kafka"),)
    assert samples(telemetry)["outbox_relay_lag_seconds_sum", kafka] == 0
    assert samples(telemetry)["outbox_relay_run_seconds_total", kafka] == 0


def test_runs_dead_letters_and_faults_are_counted_by_subscription() -> None:
    telemetry = Telemetry()
    for _ in range(2):
        telemetry.run_done(
            "kafka", messages=3, bytes=70, seconds=0.5, created_at=[1, 2, 3], acknowledged_at=4
        )
    telemetry.dead("kafka", "MSG_SIZE_TOO_LARGE")
    telemetry.fault("kafka", "broker")
    shown = samples(telemetry)
    kafka = (("subscription", "kafka"),)
    assert shown["outbox_relay_messages_published_total", kafka] == 6
    assert shown["outbox_relay_bytes_published_total", kafka] == 140
    assert shown["outbox_relay_checkpoints_total", kafka] == 2
    assert shown["outbox_relay_run_seconds_total", kafka] == 1.0
    reason = (("reason", "MSG_SIZE_TOO_LARGE"), *kafka)
    assert shown["outbox_relay_dead_letters_total", reason] == 1
    assert shown["outbox_relay_faults_total", (("kind", "broker"), *kafka)] == 1


def test_requests_are_counted_by_outcome_and_timed() -> None:
    telemetry = Telemetry()
    telemetry.attempts("billing", {"acked": 2, "timeout": 1}, [0.004, 0.2, 15.0])
    telemetry.attempts("billing", {"acked": 1}, [61.0])
    shown = samples(telemetry)
    billing = (("subscription", "billing"),)
    assert shown["outbox_relay_attempts_total", (("outcome", "acked"), *billing)] == 3
    assert shown["outbox_relay_attempts_total", (("outcome", "timeout"), *billing)] == 1
    within = {
        bound: shown["outbox_relay_request_seconds_bucket", (("le", bound), *billing)]
        for bound in ("0.005", "0.1", "0.25", "15.0", "60.0", "+Inf")
    }
    assert within == {"0.005": 1, "0.1": 1, "0.25": 2, "15.0": 3, "60.0": 3, "+Inf": 4}
    assert shown["outbox_relay_request_seconds_sum", billing] == pytest.approx(76.204)


def test_of_an_answers_status_the_metrics_show_the_class() -> None:
    """An endpoint chooses its status, and each would be a series."""
    telemetry = Telemetry()
    answers = [f"http_{status}" for status in range(1000)] + [
        "http_99999",
        "http_\u0665\u0660\u0660",
        "http_",
    ]
    telemetry.attempts("billing", dict.fromkeys(answers, 1), [])
    for answer in answers:
        telemetry.dead("billing", answer)
    shown = samples(telemetry)
    classes = {"http_1xx", "http_2xx", "http_3xx", "http_4xx", "http_5xx", "http_other"}
    for name, label in (
        ("outbox_relay_attempts_total", "outcome"),
        ("outbox_relay_dead_letters_total", "reason"),
    ):
        counted = {dict(labels)[label]: value for (n, labels), value in shown.items() if n == name}
        assert counted.keys() == classes
        assert (counted["http_5xx"], sum(counted.values())) == (100, len(answers))


def count_everything(telemetry: Telemetry, name: str) -> None:
    telemetry.run_done(name, messages=1, bytes=1, seconds=0.1, created_at=[1], acknowledged_at=2)
    telemetry.attempts(name, {"acked": 1, "timeout": 1}, [0.1])
    telemetry.breaker(name, True)
    telemetry.dead(name, "timeout")
    telemetry.fault(name, "database")
    telemetry.cursor_adopted(name)
    telemetry.cursor_refused(name)


def test_subscriptions_that_are_gone_leave_no_series() -> None:
    telemetry = Telemetry()
    for number in range(50):
        count_everything(telemetry, f"s-{number}")
    telemetry.waiting({(f"s-{number}", "orders"): 1.0 for number in range(50)})
    telemetry.fault("", "database")
    before = samples(telemetry)
    telemetry.keep({"s-7", "not-seen"})
    after = samples(telemetry)
    assert {dict(labels).get("subscription") for _, labels in after} == {None, "", "s-7"}
    # And what stays is what it was.
    assert all(before[key] == value for key, value in after.items() if "s-7" in str(key))
    telemetry.waiting({("s-7", f"channel-{n}"): 1.0 for n in range(MAX_WAITING_CHANNELS + 1)})
    waiting = [name for name, _ in samples(telemetry) if name.endswith("waiting_seconds")]
    assert len(waiting) == MAX_WAITING_CHANNELS


def names_in(telemetry: Telemetry) -> dict[str | None, int]:
    """How many series each subscription has."""
    return Counter(dict(labels).get("subscription") for _, labels in samples(telemetry))


def test_however_many_names_come_between_two_rounds_the_series_are_bounded() -> None:
    telemetry = Telemetry()
    telemetry.keep({"billing"})
    for number in range(MAX_NEW_NAMES + 1000):
        count_everything(telemetry, f"s-{number}")
    count_everything(telemetry, "billing")
    names = names_in(telemetry)
    assert len(names.keys() - {None}) == MAX_NEW_NAMES + 2
    # Who was there before keeps its own.
    assert names["billing"] == names["s-0"]
    acked = (("outcome", "acked"), ("subscription", OTHERS))
    assert samples(telemetry)["outbox_relay_attempts_total", acked] == 1000


def test_after_a_round_new_names_have_room_again() -> None:
    telemetry = Telemetry()
    for number in range(MAX_NEW_NAMES + 1):
        telemetry.fault(f"s-{number}", "database")
    telemetry.keep({"s-0"})
    telemetry.fault("billing", "database")
    assert names_in(telemetry).keys() == {None, "s-0", OTHERS, "billing"}


def test_of_a_relay_that_starts_among_many_subscriptions_each_has_its_own_series(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first maintenance may take minutes."""
    names = [f"s-{number}" for number in range(MAX_NEW_NAMES + 1)]
    with psycopg.connect(database_url) as connection:
        subscribe = "insert into outbox.subscription (name) select unnest(%s::text[])"
        connection.execute(subscribe, [names])
    telemetry, stop = Telemetry(), threading.Event()

    def maintain(*_: object) -> None:
        for name in names:
            telemetry.fault(name, "database")
        stop.set()

    monkeypatch.setattr(retention, "maintain", maintain)
    relay.Relay(settings(database_url), telemetry, stop)._maintain()
    assert names_in(telemetry).keys() == {None, *names}


def test_many_breakers_that_share_a_label_are_not_shown_as_one() -> None:
    telemetry = Telemetry()
    for number in range(MAX_NEW_NAMES + 1):
        telemetry.breaker(f"s-{number}", True)
    assert OTHERS not in names_in(telemetry)


def test_forgetting_ten_times_as_many_names_takes_ten_times_as_many_steps() -> None:
    def steps(names: int) -> int:
        """Calls of Python functions."""
        telemetry = Telemetry()
        for number in range(names):
            count_everything(telemetry, f"s-{number}")
        calls = Counter[str]()
        sys.setprofile(lambda _, event, __: calls.update([event]))
        try:
            telemetry.keep(())
        finally:
            sys.setprofile(None)
        assert names_in(telemetry).keys() == {None}
        return calls["call"]

    assert steps(200) < 12 * steps(20)


def test_a_label_that_names_subscriptions_is_bounded() -> None:
    telemetry = Telemetry()
    telemetry.late({"message_7": "not yet passed by " + ", ".join(["s" * 100] * 1000)})
    [labels] = [labels for name, labels in samples(telemetry) if name.endswith("overdue_partition")]
    assert len(dict(labels)["needed_by"]) == LONGEST_LABEL


def test_a_breaker_that_closes_is_shown_closed() -> None:
    telemetry = Telemetry()
    labels = (("subscription", "billing"),)
    for is_open in (True, False):
        telemetry.breaker("billing", is_open)
        assert samples(telemetry)["outbox_relay_breaker_open", labels] == is_open


def test_a_channel_that_waits_no_more_is_not_shown() -> None:
    telemetry = Telemetry()
    telemetry.waiting({("kafka", "orders"): 12.0})
    labels = (("channel", "orders"), ("subscription", "kafka"))
    assert samples(telemetry)["outbox_relay_channel_waiting_seconds", labels] == 12
    telemetry.waiting({})
    assert ("outbox_relay_channel_waiting_seconds", labels) not in samples(telemetry)


def test_waiting_channels_are_bounded() -> None:
    telemetry = Telemetry()
    number = MAX_WAITING_CHANNELS + 10
    telemetry.waiting({("kafka", f"channel-{n}"): 1.0 for n in range(number)})
    shown = [name for name, _ in samples(telemetry) if name.endswith("waiting_seconds")]
    assert len(shown) == MAX_WAITING_CHANNELS
    assert samples(telemetry)["outbox_relay_waiting_channels", ()] == number


def test_the_backlog_is_shown_by_priority(serve: Serve, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        publish(connection)
        publish(connection)
    status, body = get(serve(database_url, Telemetry()), "/metrics")
    lines = body.splitlines()
    backlog = "outbox_relay_backlog_messages"
    assert status == 200
    assert f'{backlog}{{priority="3",subscription="kafka"}} 2.0' in lines
    assert f'{backlog}{{priority="1",subscription="kafka"}} 0.0' in lines


def test_metrics_come_without_a_database_and_then_tell_no_backlog(serve: Serve) -> None:
    telemetry = Telemetry()
    telemetry.fault("kafka", "database")
    status, body = get(serve(NOWHERE, telemetry), "/metrics")
    assert status == 200
    assert "outbox_relay_faults_total{" in body
    assert "outbox_relay_backlog_messages{" not in body


def test_a_relay_that_waits_for_its_database_is_alive_and_not_ready(serve: Serve) -> None:
    server = serve(NOWHERE, Telemetry())
    assert get(server, "/healthz")[0] == 200
    status, body = get(server, "/readyz")
    assert (status, "127.0.0.1:1/none" in body) == (503, True)


def test_a_relay_whose_loop_hangs_is_not_alive(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry()
    server = serve(NOWHERE, telemetry)
    monkeypatch.setattr(telemetry, "loop_age_seconds", lambda: 10.1)
    assert get(server, "/healthz")[0] == 503


def test_a_turn_of_the_loop_makes_it_young_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    telemetry = Telemetry()
    now += 60.0
    assert telemetry.loop_age_seconds() == 60.0
    telemetry.turned()
    assert telemetry.loop_age_seconds() == 0.0


def test_a_sound_database_makes_it_ready(serve: Serve, database_url: str) -> None:
    assert get(serve(database_url, Telemetry()), "/readyz") == (200, "ready\n")


def test_a_database_of_another_cluster_is_not_ready(serve: Serve, database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update outbox.installation set system_identifier = 1")
    status, body = get(serve(database_url, Telemetry()), "/readyz")
    assert (status, "outbox-relay rebase" in body) == (503, True)


def test_a_database_without_the_schema_is_not_ready(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    with postgres_server.clone("template0") as empty_url:
        status, body = get(serve(empty_url, Telemetry()), "/readyz")
    assert (status, "outbox-relay migrate" in body) == (503, True)


def test_a_refusal_of_the_relay_itself_is_not_ready(serve: Serve, database_url: str) -> None:
    telemetry = Telemetry()
    server = serve(database_url, telemetry)
    telemetry.refused("because")
    assert get(server, "/readyz") == (503, "because\n")
    telemetry.refused(None)
    assert get(server, "/readyz")[0] == 200


def test_a_running_relay_is_alive_and_ready_and_counts_what_it_published(
    spawn: Spawn,
    database_url: str,
    kafka: str,
    topic_prefix: str,
    create_topic: CreateTopic,
    free_port: Callable[[], int],
) -> None:
    create_topic("orders")
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
        "RELAY_PORT": str(port),
    }
    where = f"http://127.0.0.1:{port}"
    spawn("outbox-relay", "run", environment=environment, ready_url=f"{where}/readyz")
    assert ask(port, "/healthz")[0] == 200
    with psycopg.connect(database_url) as connection:
        publish(connection)

    def counted() -> None:
        published = 'outbox_relay_messages_published_total{subscription="kafka"} 1.0'
        assert published in ask(port, "/metrics")[1].splitlines()

    eventually(counted, 30)


def test_head_answers_without_a_body_and_unknown_paths_are_told(serve: Serve) -> None:
    server = serve(NOWHERE, Telemetry())
    assert get(server, "/healthz", "HEAD") == (200, "")
    assert get(server, "/")[0] == 404


def test_no_port_means_no_server() -> None:
    assert status_server.start(settings(NOWHERE), Telemetry()) is None


def test_a_taken_port_is_no_reason_to_stop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert status_server.start(settings(NOWHERE, RELAY_PORT=port), Telemetry()) is None


def test_an_address_of_another_machine_is_bad_configuration(free_port: Callable[[], int]) -> None:
    elsewhere = settings(NOWHERE, RELAY_HOST="192.0.2.1", RELAY_PORT=str(free_port()))
    with pytest.raises(SettingsError, match="RELAY_HOST"):
        status_server.start(elsewhere, Telemetry())
