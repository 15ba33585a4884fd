"""The demo itself, in small: real processes, real Kafka, real kills."""

import pytest

from tests.conftest import PostgresServer, Spawn

RUN_SECONDS = 110


@pytest.mark.long
def test_the_demo_comes_out_right_with_three_kills(
    postgres_server: PostgresServer, kafka: str, spawn: Spawn
) -> None:
    environment = {"DATABASE_URL": postgres_server.dsn(), "KAFKA_BOOTSTRAP_SERVERS": kafka}
    demo = spawn(
        "python", "-m", "demo.saga", "--orders", "20", "--kills", "3", environment=environment
    )
    assert demo.wait(RUN_SECONDS) == 0
    assert "Everything is as it must be: 20 orders, 3 kills -9" in demo.output()
