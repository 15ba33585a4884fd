"""outbox.connect, and the settings of subscriptions of kind kafka."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.sql.log import Session, one

BROKERS = "b-1.example.com:9092,b-2.example.com:9093"


CONNECT = "select outbox.connect('warehouse', 'orders', 'kafka', %s)"


def test_a_connector_is_a_subscription_of_one_channel(db: Session) -> None:
    config = {
        "brokers": BROKERS,
        "topic": "shop.orders",
        "security": "sasl_ssl",
        "sasl_mechanism": "SCRAM-SHA-512",
        "credentials": "warehouse",
    }
    made = one(
        db,
        "select outbox.connect('warehouse', 'orders', 'kafka', %s, types => %s, shards => 2,"
        " delivery => 'exactly_once')",
        Jsonb(config),
        ["order.paid"],
    )
    assert db.execute(
        "select id, name, kind, channels, types, shards, delivery, settings"
        " from outbox.subscription where name = 'warehouse'"
    ).fetchall() == [
        (made, "warehouse", "kafka", ["orders"], ["order.paid"], 2, "exactly_once", config)
    ]
    assert one(db, "select count(*) from outbox.cursor where subscription_id = %s", made) == 10


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "settings.brokers is required"),
        ({"brokers": 1}, "settings.brokers must be host:port"),
        ({"brokers": ""}, "settings.brokers must be host:port"),
        ({"brokers": "b"}, "settings.brokers must be host:port"),
        ({"brokers": "b:1, c:2"}, "settings.brokers must be host:port"),
        ({"brokers": "SASL_SSL://b:1"}, "settings.brokers must be host:port"),
        ({"brokers": "b:99999"}, "settings.brokers must be host:port"),
        ({"brokers": ",".join(["broker.example.com:9092"] * 11)}, "settings.brokers must be"),
        ({"topic": "a b"}, "settings.topic must be the name of a topic"),
        ({"topic": ".."}, "settings.topic must be the name of a topic"),
        ({"topic": "x" * 250}, "settings.topic must be the name of a topic"),
        ({"topic": "outbox.cursors"}, "settings.topic must not be"),
        ({"topic": "__consumer_offsets"}, "none of Kafka's own with __ in front"),
        ({"topic": "__mine"}, "none of Kafka's own with __ in front"),
        ({"topic": "a", "topic_prefix": "b"}, "settings.topic takes no topic_prefix"),
        ({"security": "SSL"}, "settings.security must be one of plaintext, ssl"),
        ({"security": "sasl_ssl", "credentials": "a"}, "settings.sasl_mechanism is required"),
        (
            {"security": "sasl_ssl", "sasl_mechanism": "PLAIN"},
            "settings.credentials is required with security sasl_ssl",
        ),
        (
            {"security": "sasl_ssl", "sasl_mechanism": "GSSAPI", "credentials": "a"},
            "settings.sasl_mechanism must be one of PLAIN",
        ),
        ({"sasl_mechanism": "PLAIN"}, "settings.sasl_mechanism is for security sasl"),
        ({"credentials": "a"}, "settings.credentials is of no use with security plaintext"),
        ({"security": "ssl", "credentials": "../a"}, "settings.credentials must be a name"),
        ({"security": "ssl", "credentials": "A"}, "settings.credentials must be a name"),
        ({"plugin.library.paths": "/x.so"}, "settings.plugin.library.paths is not known"),
        ({"ssl.ca.location": "/etc/passwd"}, "settings.ssl.ca.location is not known"),
        ({"password": "x"}, "settings.password is not known"),
    ],
)
def test_a_config_that_means_nothing_is_refused_by_its_setting(
    db: Session, config: dict[str, object], fault: str
) -> None:
    whole = {"brokers": BROKERS, **config} if config else config
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(CONNECT, [Jsonb(whole)])
    assert fault in str(refused.value)
    assert refused.value.diag.column_name == "settings"


def test_another_type_is_refused(db: Session) -> None:
    with pytest.raises(errors.CheckViolation, match="type must be kafka") as refused:
        db.execute("select outbox.connect('a', 'orders', 'http', %s)", [Jsonb({})])
    assert refused.value.diag.column_name == "type"


def test_what_is_of_another_cluster_needs_its_brokers(db: Session) -> None:
    with pytest.raises(errors.CheckViolation, match="brokers have to name"):
        db.execute(
            "insert into outbox.subscription (name, channels, settings) values ('a', '{b}', %s)",
            [Jsonb({"topic": "b"})],
        )


def test_one_topic_takes_one_channel_for_good(db: Session) -> None:
    db.execute(CONNECT, [Jsonb({"brokers": BROKERS, "topic": "t"})])
    for channels in (None, ["orders", "parcels"]):
        with pytest.raises(errors.CheckViolation, match="takes exactly one channel"):
            db.execute(
                "update outbox.subscription set channels = %s where kind = 'kafka'"
                " and settings ? 'topic'",
                [channels],
            )


def test_its_cursors_count_for_the_quota_of_who_made_it(db: Session) -> None:
    db.execute("update outbox.quota set cursors = 100, limited_percent = 10")
    with pytest.raises(errors.CheckViolation, match="shards = 3 takes 15 cursors"):
        db.execute(
            "select outbox.connect('a', 'orders', 'kafka', %s, shards => 3, made_by => 'shop')",
            [Jsonb({"brokers": BROKERS})],
        )


def test_what_a_connector_waits_for_is_forgotten_where_it_leads_elsewhere(db: Session) -> None:
    db.execute(CONNECT, [Jsonb({"brokers": "a.example.com:9092"})])
    db.execute("select outbox.note_waiting(id, 'no answer') from outbox.subscription")
    change = """
        update outbox.subscription set settings = settings || %s where name = 'warehouse'
        returning waiting_reason, waiting_since is null
    """
    kept = db.execute(change, [Jsonb({"topic": "shop"})]).fetchone()
    moved = db.execute(change, [Jsonb({"brokers": "b.example.com:9092"})]).fetchone()
    assert (kept, moved) == (("no answer", False), (None, True))


QUEUE = "https://sqs.eu-central-1.amazonaws.com/123456789012/orders.fifo"


TO_QUEUE = "select outbox.connect('shop', 'orders', 'sqs', %s)"


def test_a_connector_to_a_queue_has_a_breaker_and_no_secret(db: Session) -> None:
    made = one(db, TO_QUEUE, Jsonb({"queue_url": QUEUE, "retry": {"max_attempts": 3}}))
    assert one(db, "select count(*) from outbox.breaker where subscription_id = %s", made) == 1
    assert one(db, "select count(*) from outbox.secret where subscription_id = %s", made) == 0


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "settings.queue_url is required"),
        ({"queue_url": 1}, "settings.queue_url must be the URL of a queue"),
        ({"queue_url": "sqs:orders"}, "settings.queue_url must be the URL of a queue"),
        ({"queue_url": "https://h/orders"}, "settings.queue_url must be the URL of a queue"),
        ({"queue_url": f"{QUEUE}?x"}, "settings.queue_url must be the URL of a queue"),
        ({"queue_url": "https://u:p@h/123456789012/q"}, "settings.queue_url must be the URL"),
        ({"queue_url": "https://h/123456789012/q"}, "settings.region is required"),
        ({"queue_url": QUEUE, "region": "A"}, "settings.region must be a region"),
        ({"queue_url": QUEUE, "role_arn": "admin"}, "settings.role_arn must be the ARN"),
        ({"queue_url": QUEUE, "credentials": "A"}, "settings.credentials must be a name"),
        ({"queue_url": QUEUE, "endpoint": "https://h/"}, "settings.endpoint is not known"),
        ({"queue_url": QUEUE, "brokers": "b:1"}, "settings.brokers is not known"),
        ({"queue_url": QUEUE, "retry.jitter": 1}, "settings.retry.jitter is not known"),
        ({"queue_url": QUEUE, "concurrency": 0}, "settings.concurrency must be"),
        ({"queue_url": QUEUE, "retry": 1}, "settings.retry must be an object"),
    ],
)
def test_settings_of_a_queue_that_do_not_fit_are_refused_by_name(
    db: Session, config: dict[str, object], fault: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(TO_QUEUE, [Jsonb(config)])
    assert (refused.value.diag.message_primary or "").startswith(fault)


def test_a_queue_is_not_for_keys_that_are_limited_to_channels(db: Session) -> None:
    """Its requests are signed by what is the operator's."""
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(
            "select outbox.connect('shop', 'orders', 'sqs', %s, made_by => 'shop')",
            [Jsonb({"queue_url": QUEUE})],
        )
    assert refused.value.diag.constraint_name == "queues_and_topics_are_not_for_limited_keys"


def test_connectors_of_each_type_are_listed(db: Session) -> None:
    db.execute(CONNECT, [Jsonb({"brokers": BROKERS})])
    db.execute(TO_QUEUE, [Jsonb({"queue_url": QUEUE})])
    listed = db.execute("select name, type from outbox.connector order by name").fetchall()
    assert listed == [("shop", "sqs"), ("warehouse", "kafka")]


def test_a_test_message_goes_to_a_queue_alone(db: Session) -> None:
    db.execute(CONNECT, [Jsonb({"brokers": BROKERS})])
    made = one(db, TO_QUEUE, Jsonb({"queue_url": QUEUE}))
    sent = one(db, "select outbox.send_test(%s)", made)
    takers = db.execute(
        "select c.subscription_id, d.message_id, d.dead_letter_id from outbox.delivery d"
        " join outbox.cursor c on c.id = d.cursor_id"
    ).fetchall()
    assert takers == [(made, sent, None)]


@pytest.mark.parametrize("kind", ["kafka", "sqs", "pubsub"])
@pytest.mark.parametrize("config", [["brokers"], [], "brokers", 1])
def test_a_config_that_is_no_object_is_refused_as_such(
    db: Session, kind: str, config: object
) -> None:
    for statement in (
        "select outbox.connect('a', 'orders', %s, %s)",
        "insert into outbox.subscription (name, kind, settings) values ('a', %s, %s)",
    ):
        with pytest.raises(errors.CheckViolation) as refused:
            db.execute(statement, [kind, Jsonb(config)])
        assert refused.value.diag.message_primary == "settings must be a JSON object"
        assert refused.value.diag.column_name == "settings"


def test_a_channel_that_is_named_as_kafkas_own_topics_are_needs_a_topic(db: Session) -> None:
    connect = "select outbox.connect('a', '__consumer_offsets', 'kafka', %s)"
    with pytest.raises(errors.CheckViolation, match=r"settings\.topic is required"):
        db.execute(connect, [Jsonb({"brokers": BROKERS})])
    db.execute(connect, [Jsonb({"brokers": BROKERS, "topic": "offsets"})])
