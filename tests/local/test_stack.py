"""Promises of the stack: both servers, or those that the environment names."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import KafkaError, KafkaException

from local.stack import Stack
from tests.eventually import eventually

OWNER = """
import json, sys, time
from pathlib import Path
from local.stack import Stack

stack = Stack.start(Path(sys.argv[1]), quick_start=True)
stack.make_topics(["kept"])
ports = [stack.postgres.port, stack.kafka.port]
print(json.dumps({"ports": ports, "database_url": stack.database_url}), flush=True)
time.sleep(600)
"""


def assert_no_server_listens(port: int) -> None:
    with socket.socket() as client:
        client.settimeout(2)
        assert client.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its owner's death")
def test_both_servers_die_with_an_owner_killed_by_9_and_keep_their_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "KAFKA_BOOTSTRAP_SERVERS"):
        monkeypatch.delenv(name, raising=False)
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        told = json.loads(owner.stdout.readline())
        with psycopg.connect(told["database_url"]) as connection:
            connection.execute("create table kept as select 1 as value")
        os.kill(owner.pid, signal.SIGKILL)
    for port in told["ports"]:
        eventually(lambda port=port: assert_no_server_listens(port))  # type: ignore[misc]
    # The former registration has to expire.
    soon = {"broker.session.timeout.ms": "2000"}
    with Stack.start(tmp_path, kafka_settings=soon, quick_start=True) as stack:
        assert stack.kafka is not None
        with pytest.raises(KafkaException) as caught:
            stack.kafka.create_topic("kept")
        assert caught.value.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
        with psycopg.connect(stack.database_url) as connection:
            assert connection.execute("select value from kept").fetchone() == (1,)


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/shop")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    with Stack.start(tmp_path / "stack") as stack:
        assert stack.database_url == "postgresql://db.example/shop"
        assert stack.bootstrap_servers == "kafka.example:9092"
        assert stack.postgres is None
        assert stack.kafka is None
    assert not (tmp_path / "stack").exists()


def test_a_temporary_stack_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "kafka.example:9092")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Stack.start() as stack, psycopg.connect(stack.database_url) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert list(tmp_path.iterdir()) == []
