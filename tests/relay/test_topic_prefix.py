"""A subscription's own topic prefix: one channel to topics of its own."""

import pytest
from psycopg import errors

from tests.relay.stage import Stage
from tests.sql.log import Session

pytest_plugins = ["tests.relay.stages"]

INSERT = "insert into outbox.subscription (name, settings) values (%s, %s)"


def test_two_subscriptions_carry_one_channel_to_two_topics(stage: Stage) -> None:
    stage.execute(INSERT, "audit", '{"topic_prefix": "audit."}')
    for channel in ("orders", "audit.orders"):
        stage.create_topic(channel)
    stage.publish(20, "orders")
    assert stage.relay("--once").wait(60) == 0
    plain, audit = (
        sorted(arrival.idempotency_key for arrival in stage.arrivals(channel))
        for channel in ("orders", "audit.orders")
    )
    assert len(plain) == 20
    assert plain == audit


@pytest.mark.parametrize(
    "settings", ['{"topic_prefx": "a."}', '{"topic_prefix": 1}', '{"topic_prefix": "a b"}']
)
def test_settings_that_mean_nothing_are_refused(db: Session, settings: str) -> None:
    with pytest.raises(errors.CheckViolation, match="settings_of_kafka_are_a_topic_prefix"):
        db.execute(INSERT, ["odd", settings])
