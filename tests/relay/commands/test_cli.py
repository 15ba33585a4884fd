"""The command explains itself, tells what is wrong and how to correct it, and stops when told."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import pytest

from local.program import script
from relay import cli
from relay.database import Connection
from relay.process import signals
from tests.conftest import CreateTopic, PostgresServer, Spawn
from tests.eventually import eventually
from tests.relay.operating import add_dead_letter, outbox_relay, publish, relay_role
from tests.sql.log import Session

VERSION = version("outbox-relay")
NOWHERE = {"DATABASE_URL": "postgresql://relay:hunter2@127.0.0.1:1/shop"}


def test_it_says_which_version_it_is_without_any_setting() -> None:
    said = outbox_relay("--version", environment={})
    assert (said.returncode, said.stdout) == (0, f"outbox-relay {VERSION}\n")


@pytest.mark.parametrize(
    "command",
    [
        ["run"],
        ["migrate"],
        ["status"],
        ["dead-letters"],
        ["dead-letters", "list"],
        ["dead-letters", "show"],
        ["dead-letters", "redrive"],
        ["subscriptions"],
        ["subscriptions", "add"],
        ["subscriptions", "show"],
        ["subscriptions", "set"],
        ["subscriptions", "delete"],
        ["subscriptions", "pause"],
        ["subscriptions", "resume"],
        ["subscriptions", "test"],
        ["subscriptions", "rotate-secret"],
        ["replay"],
        ["rebase"],
        ["doctor"],
    ],
)
def test_every_command_explains_itself_with_an_example(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["outbox-relay", *command, "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert f"examples:\n  outbox-relay {' '.join(command)}" in capsys.readouterr().out


def test_the_help_names_every_variable() -> None:
    told = outbox_relay("--help", environment={}).stdout
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS", "RELAY_RETENTION_DAYS", "RELAY_PORT"):
        assert name in told


def test_bad_configuration_is_told_whole_and_ends_with_2() -> None:
    environment = {"RELAY_COLOUR": "red", "RELAY_PORT": "0"}
    refused = outbox_relay("status", environment=environment)
    assert refused.returncode == 2
    told = [line.split()[1].split("=")[0] for line in refused.stderr.splitlines()]
    assert sorted(told) == ["DATABASE_URL", "RELAY_COLOUR", "RELAY_PORT"]


def test_run_without_a_broker_is_bad_configuration_where_a_subscription_needs_one(
    database_url: str,
) -> None:
    refused = outbox_relay("run", environment={"DATABASE_URL": database_url})
    assert (refused.returncode, "KAFKA_BOOTSTRAP_SERVERS" in refused.stderr) == (2, True)


def test_a_relay_for_webhooks_alone_needs_no_broker(db: Session, database_url: str) -> None:
    db.execute("update outbox.subscription set paused = true")
    ran = outbox_relay("run", "--once", environment={"DATABASE_URL": database_url})
    assert ran.returncode == 0, ran.stderr


def test_an_unknown_command_is_bad_configuration() -> None:
    assert outbox_relay("resend", environment=NOWHERE).returncode == 2


@pytest.mark.parametrize("command", ["status", "migrate", "rebase"])
def test_a_database_that_does_not_answer_is_named_without_its_password(command: str) -> None:
    failed = outbox_relay(command, environment=NOWHERE)
    assert failed.returncode == 1
    assert "no database at 127.0.0.1:1/shop" in failed.stderr
    assert "hunter2" not in failed.stderr + failed.stdout


def test_migrate_tells_what_it_did_and_does_it_once(postgres_server: PostgresServer) -> None:
    with postgres_server.clone("template0") as url:
        first = outbox_relay("migrate", environment={"DATABASE_URL": url})
        second = outbox_relay("migrate", environment={"DATABASE_URL": url})
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.splitlines()[0] == "migrated 001 installation"
    assert [line for line in second.stdout.splitlines() if line.startswith("migrated")] == []


@pytest.mark.parametrize(
    "command", [["status"], ["dead-letters", "list"], ["rebase"], ["run"], ["run", "--once"]]
)
def test_a_database_without_the_schema_is_told_the_command(
    command: list[str], postgres_server: PostgresServer
) -> None:
    with postgres_server.clone("template0") as url:
        environment = {"DATABASE_URL": url, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
        failed = outbox_relay(*command, environment=environment)
    assert failed.returncode == 1
    assert "run `outbox-relay migrate`" in failed.stderr


def test_a_database_newer_than_the_code_is_refused(
    connection: Connection, database_url: str
) -> None:
    connection.execute("insert into outbox.migration (version, name) values (999, 'future')")
    refused = outbox_relay("status", environment={"DATABASE_URL": database_url})
    assert (refused.returncode, "migration 999" in refused.stderr) == (1, True)


@pytest.mark.long
def test_a_database_of_another_cluster_is_refused_until_it_is_rebased(
    connection: Connection, database_url: str
) -> None:
    connection.execute("update outbox.installation set system_identifier = 1")
    environment = {"DATABASE_URL": database_url, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    refused = outbox_relay("run", environment=environment)
    assert (refused.returncode, "outbox-relay rebase" in refused.stderr) == (1, True)
    assert outbox_relay("rebase", environment=environment).returncode == 0
    assert outbox_relay("run", "--once", environment=environment).returncode == 0


def test_status_tells_backlog_waiting_channels_and_dead_letters(
    connection: Connection, database_url: str
) -> None:
    publish(connection)
    add_dead_letter(connection, 1)
    connection.execute(
        "update outbox.cursor set waiting_since = clock_timestamp(), waiting_reason = 'no topic'"
        " where priority = 5"
    )
    told = outbox_relay("status", environment={"DATABASE_URL": database_url})
    rows = [line.split() for line in told.stdout.splitlines()]
    assert told.returncode == 0
    assert ["kafka", "3", "1"] in [row[:3] for row in rows]
    assert ["kafka", "orders", "MSG_SIZE_TOO_LARGE", "1", "0"] in [row[:5] for row in rows]
    assert "no topic" in told.stdout


def test_the_rights_of_a_relay_suffice_for_the_operator(connection: Connection) -> None:
    dead_letter = str(add_dead_letter(connection, 1))
    with relay_role(connection) as url:
        for command in (
            ["status"],
            ["subscriptions"],
            ["dead-letters", "list"],
            ["dead-letters", "show", dead_letter],
            ["dead-letters", "redrive", dead_letter],
            ["replay", "kafka", "--from", "2026-03-01T09:00:00Z"],
        ):
            done = outbox_relay(*command, environment={"DATABASE_URL": url})
            assert (done.returncode, done.stderr) == (0, "")


def test_status_speaks_json(connection: Connection, database_url: str) -> None:
    publish(connection)
    told = outbox_relay("status", "--json", environment={"DATABASE_URL": database_url})
    status = json.loads(told.stdout)
    assert status["fault"] is None
    backlog = {row["priority"]: row["messages"] for row in status["backlog"]}
    assert backlog == {1: 0, 2: 0, 3: 1, 4: 0, 5: 0}


def test_a_reader_who_goes_away_gets_no_traceback(database_url: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        told = subprocess.run(
            [str(script("outbox-relay")), "status"],
            env={"DATABASE_URL": database_url},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(writing)
    assert told.stderr == ""


@pytest.mark.parametrize("time", ["yesterday", "2026-03-01T09:00:00"])
def test_a_time_that_is_not_one_moment_is_refused(time: str) -> None:
    refused = outbox_relay("rebase", "--from", time, environment=NOWHERE)
    assert (refused.returncode, "--from" in refused.stderr) == (2, True)


def test_what_kubernetes_injects_is_told_in_the_log(database_url: str) -> None:
    environment = {"DATABASE_URL": database_url, "RELAY_PORT": "tcp://10.0.0.7:80"}
    told = outbox_relay("status", environment=environment)
    assert told.returncode == 0
    (line,) = [json.loads(line) for line in told.stderr.splitlines()]
    assert (line["level"], line["event"]) == ("warning", "setting_ignored")
    assert "RELAY_PORT" in line["reason"]


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_relay_that_is_told_to_stop_ends_with_0(
    told: signal.Signals,
    spawn: Spawn,
    connection: Connection,
    database_url: str,
    kafka: str,
    topic_prefix: str,
    create_topic: CreateTopic,
) -> None:
    create_topic("orders")
    environment = {
        "DATABASE_URL": database_url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka,
        "RELAY_TOPIC_PREFIX": topic_prefix,
    }
    relay = spawn("outbox-relay", "run", environment=environment)
    publish(connection)

    def published() -> None:
        row = connection.execute("select sum(messages) from outbox.checkpoint").fetchone()
        assert row == (1,)

    eventually(published, 30)
    os.kill(relay.pid, told)
    assert relay.wait(10) == 0


PATIENT = """
import sys, threading
from relay.process import logs, signals
logs.configure("error")
signals.STOP_SECONDS = float(sys.argv[1])
stop = threading.Event()
signals.stop_on_signals(stop)
print("ready", flush=True)
stop.wait()
print("stopping", flush=True)
threading.Event().wait()
"""


def patient(stop_seconds: float, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """A process that is told to stop and does not."""
    return subprocess.Popen(
        [sys.executable, "-c", PATIENT, str(stop_seconds)],
        cwd=Path(signals.__file__).parents[2],
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def test_a_second_signal_ends_it_at_once() -> None:
    with patient(60, {}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1


def test_what_hangs_keeps_it_alive_no_longer_than_its_time() -> None:
    with patient(0.2, {}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1


@pytest.mark.long
@pytest.mark.parametrize("written", ["2026-03-01", "2026-03-01 09:00", "2026-03-01T09:00:00.5"])
def test_a_time_without_an_offset_is_refused_with_one_that_is_taken(
    database_url: str, written: str
) -> None:
    environment = {"DATABASE_URL": database_url}
    replay = ("replay", "kafka", "--dry-run", "--from")
    refused = outbox_relay(*replay, written, environment=environment)
    proposed = refused.stderr.rpartition(" write ")[2].split()[0]
    assert refused.returncode == 2
    taken = outbox_relay(*replay, proposed, environment=environment)
    assert taken.returncode == 0, taken.stderr
