"""Rules, dashboard and probes name what real processes show and answer."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from local.program import get_status
from tests.conftest import Spawn
from tests.deploy import test_dashboard, test_kubernetes
from tests.deploy.rules import alerts, metrics_in, rules, try_out
from tests.eventually import eventually
from tests.receiver import Receiver, respond
from tests.relay.monitoring.serving import ask

# The rest of the environment is as the manifests have it, but for where to listen.
LOOPBACK = {"RELAY_HOST": "127.0.0.1", "SERVICE_HOST": "127.0.0.1"}

SUBSCRIBE = """
    select from outbox.subscribe('billing', 'orders', %s,
                                 '{"retry": {"schedule_seconds": [600], "jitter": 0}}')
"""
PAUSE_KAFKA = "update outbox.subscription set paused = true where name = 'kafka'"
AGED = "update outbox.message set created_at = created_at - interval '1 hour'"

Labels = dict[str, str]


def named(families: list[Metric]) -> set[str]:
    """As expressions name them."""
    return {one.name + ("_total" if one.type == "counter" else "") for one in families}


def scraped(port: int) -> list[Metric]:
    status, text = ask(port, "/metrics")
    assert status == 200
    return list(text_string_to_metric_families(text))


def environment(name: str, database_url: str, **others: str) -> dict[str, str]:
    return {
        **test_kubernetes.environment(name),
        "DATABASE_URL": database_url,
        **LOOPBACK,
        **others,
    }


def start(
    spawn: Spawn, database_url: str, process: str, port: int, *arguments: str, **others: str
) -> None:
    """As its manifest has it, and by the manifest's probe; the Kafka that it names is not there."""
    of = "RELAY_PORT" if process == "outbox-relay" else "SERVICE_PORT"
    settings = {of: str(port), **others}
    container = test_kubernetes.CONTAINERS[process]
    path = container["readinessProbe"]["httpGet"]["path"]
    program, *words = container["args"]
    spawn(
        program,
        *words,
        *arguments,
        environment=environment(process, database_url, **settings),
        ready_url=f"http://127.0.0.1:{port}{path}",
    )
    alive = container["livenessProbe"]["httpGet"]["path"]
    assert get_status(f"http://127.0.0.1:{port}{alive}", timeout_seconds=10) == 200


def test_every_metric_that_rules_and_dashboard_name_is_shown_by_a_relay_or_a_service(
    spawn: Spawn, database_url: str, free_port: Callable[[], int]
) -> None:
    relay, service = free_port(), free_port()
    start(spawn, database_url, "outbox-relay", relay)
    start(spawn, database_url, "outbox-service", service)
    shown = named(scraped(relay)) | named(scraped(service))
    expressions = [alert["expr"] for alert in alerts(rules())]
    expressions += [target["expr"] for target in test_dashboard.TARGETS]
    assert all(metrics_in(one) for one in expressions)
    expressions += [one.get("definition", "") for one in test_dashboard.VARIABLES]
    assert metrics_in(" ".join(expressions)) - shown == set()


@pytest.fixture
def stuck(spawn: Spawn, database_url: str, free_port: Callable[[], int]) -> Iterator[list[Metric]]:
    """What a relay shows whose only endpoint has answered 503 to its only message, an hour old."""
    port = free_port()
    with Receiver() as receiver, psycopg.connect(database_url, autocommit=True) as connection:
        receiver.react = respond(503)
        connection.execute(PAUSE_KAFKA)
        connection.execute(SUBSCRIBE, [f"http://127.0.0.1:{receiver.port}/"])
        connection.execute("select outbox.publish('orders', 'order.paid', '{}')")
        connection.execute(AGED)
        start(
            spawn,
            database_url,
            "outbox-relay",
            port,
            RELAY_ALLOW_NETWORKS="127.0.0.1/32",
            RELAY_PUSH_PORTS=str(receiver.port),
        )

        def retrying() -> list[Metric]:
            families = scraped(port)
            retried = {"subscription": "billing", "state": "retrying"}
            [sample] = [one for f in families for one in f.samples if one.labels == retried]
            assert sample.value == 1
            return families

        yield eventually(retrying, 30)


def lasting(families: list[Metric]) -> list[dict[str, str]]:
    """Each sample for half an hour as it is."""
    return [
        {
            "series": sample.name + braces({**sample.labels, "job": "outbox"}),
            "values": f"{sample.value}x30",
        }
        for family in families
        for sample in family.samples
        if sample.name.startswith("outbox_relay_") and family.type == "gauge"
    ]


def braces(labels: dict[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def fired(promtool: Path, directory: Path, series: list[Labels]) -> list[Labels]:
    """The labels of alerts after twenty minutes: promtool tells what it did not expect."""
    wanted = [
        {"eval_time": "20m", "alertname": alert["alert"], "exp_alerts": []}
        for alert in alerts(rules())
    ]
    tests = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series, "alert_rule_test": wanted}],
    }
    said = try_out(promtool, rules(), tests, directory).said
    found = re.findall(r"Labels:\{(.*)\}", said)
    assert found or "SUCCESS" in said, said
    return [dict(re.findall(r'(\w+)="([^"]*)"', one)) for one in found]


@pytest.mark.long
def test_a_webhook_stuck_on_503_raises_one_alert_that_tells_of_it_and_no_other(
    promtool: Path, tmp_path: Path, stuck: list[Metric]
) -> None:
    """Too little for a breaker; and Kafka's subscription, paused on purpose, waits as long."""
    assert fired(promtool, tmp_path, lasting(stuck)) == [
        {
            "alertname": "OutboxMessagesNotDelivered",
            "job": "outbox",
            "severity": "critical",
            "subscription": "billing",
        }
    ]
