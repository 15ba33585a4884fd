"""outbox.connect, and the settings of connectors to topics of Pub/Sub."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.sql.log import Session, one

TO_TOPIC = "select outbox.connect('shop', %s, 'pubsub', %s)"


def test_a_connector_to_a_topic_has_a_breaker_and_is_listed(db: Session) -> None:
    config = {"project": "shop-prod", "ordering": False, "retry": {"max_attempts": 3}}
    made = one(db, TO_TOPIC, "orders", Jsonb(config))
    assert one(db, "select count(*) from outbox.breaker where subscription_id = %s", made) == 1
    assert db.execute("select name, type, config from outbox.connector").fetchall() == [
        ("shop", "pubsub", config)
    ]
    topic = (
        "select outbox.connector_topic(settings, channels) from outbox.subscription where id = %s"
    )
    assert one(db, topic, made) == "orders"


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "settings.project is required"),
        ({"project": 1}, "settings.project must be the id of a project"),
        ({"project": "Shop"}, "settings.project must be the id of a project"),
        ({"project": "shop/topics/x"}, "settings.project must be the id of a project"),
        ({"topic": "go"}, "settings.topic must be the name of a topic"),
        ({"topic": "google-x"}, "settings.topic must be the name of a topic"),
        ({"topic": "1orders"}, "settings.topic must be the name of a topic"),
        ({"topic": "a/b/c"}, "settings.topic must be the name of a topic"),
        ({"topic": "x" * 256}, "settings.topic must be the name of a topic"),
        ({"ordering": "yes"}, "settings.ordering must be true or false"),
        ({"ordering": None}, "settings.ordering must be true or false"),
        ({"endpoint": "pubsub.googleapis.com"}, "settings.endpoint must be https:// and a host"),
        ({"endpoint": "https://h/v1"}, "settings.endpoint must be https:// and a host"),
        ({"endpoint": "https://u:p@h"}, "settings.endpoint must be https:// and a host"),
        ({"credentials": "A"}, "settings.credentials must be a name"),
        ({"credentials": "a", "endpoint": "http://h"}, "settings.credentials is of no use"),
        ({"queue_url": "q"}, "settings.queue_url is not known"),
        ({"client_errors": "retry"}, "settings.client_errors is not known"),
        ({"concurrency": 0}, "settings.concurrency must be"),
    ],
)
def test_settings_of_a_topic_that_do_not_fit_are_refused_by_name(
    db: Session, config: dict[str, object], fault: str
) -> None:
    whole = {"project": "shop-prod", **config} if config else config
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(TO_TOPIC, ["orders", Jsonb(whole)])
    assert (refused.value.diag.message_primary or "").startswith(fault)


@pytest.mark.parametrize("channel", ["1st", "ab", "_orders", "google.orders"])
def test_a_channel_whose_name_is_no_topics_needs_one(db: Session, channel: str) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(TO_TOPIC, [channel, Jsonb({"project": "shop-prod"})])
    assert f"settings.topic is required: the channel {channel} " in str(refused.value)
    db.execute(TO_TOPIC, [channel, Jsonb({"project": "shop-prod", "topic": "orders"})])


def test_a_topic_is_not_for_keys_that_are_limited_to_channels(db: Session) -> None:
    """Its requests are signed by what is the operator's."""
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(
            "select outbox.connect('shop', 'orders', 'pubsub', %s, made_by => 'shop')",
            [Jsonb({"project": "shop-prod"})],
        )
    assert refused.value.diag.constraint_name == "queues_and_topics_are_not_for_limited_keys"


@pytest.mark.parametrize("channels", [None, ["orders", "refunds"]])
def test_a_topic_gets_one_channel(db: Session, channels: list[str] | None) -> None:
    db.execute(TO_TOPIC, ["orders", Jsonb({"project": "shop-prod"})])
    change = "update outbox.subscription set channels = %s where name = 'shop'"
    with pytest.raises(errors.CheckViolation, match="takes exactly one channel"):
        db.execute(change, [channels])
