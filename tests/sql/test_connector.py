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


MAKE = "select outbox.connect(%s, 'orders', 'kafka', %s, made_by => %s)"


def make(db: Session, name: str, brokers: str, made_by: str | None = None) -> None:
    db.execute(MAKE, [name, Jsonb({"brokers": brokers}), made_by])


def refusal(db: Session, name: str, made_by: str | None = None) -> str:
    """Why there is no room for one more."""
    with pytest.raises(errors.CheckViolation) as refused:
        make(db, name, "c.example.com:9092", made_by)
    diag = refused.value.diag
    assert (diag.table_name, diag.column_name) == ("subscription", "brokers")
    return diag.message_primary or ""


def test_a_connector_beyond_the_quota_is_refused_with_the_number_the_bound_and_the_mend(
    db: Session,
) -> None:
    """Also one to a cluster that others lead to."""
    db.execute("update outbox.quota set connectors = 2")
    make(db, "a", "a.example.com:9092")
    make(db, "b", "c.example.com:9092")
    assert refusal(db, "c") == (
        "brokers names another cluster, and of at most 2 connectors that do there are 2 already: "
        "delete one that is not needed, or raise outbox.quota.connectors as the owner"
    )
    db.execute("select outbox.delete_subscription('b')")
    make(db, "d", "d.example.com:9092")


def test_a_subscription_that_is_moved_to_another_cluster_counts(db: Session) -> None:
    db.execute("update outbox.quota set connectors = 1")
    make(db, "a", "a.example.com:9092")
    change = "update outbox.subscription set settings = settings || %s where name = %s"
    # Whichever other cluster a connector leads to.
    db.execute(change, [Jsonb({"brokers": "b.example.com:9092"}), "a"])
    with pytest.raises(errors.CheckViolation, match="of at most 1 connectors that do there are 1"):
        db.execute(change, [Jsonb({"brokers": "c.example.com:9092"}), "kafka"])


def test_limited_keys_of_one_name_have_a_share_of_the_connectors_and_leave_as_much(
    db: Session,
) -> None:
    db.execute("update outbox.quota set connectors = 10, connectors_of_a_key = 2")
    for n in range(2):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    assert "API keys named shop make, there are 2 already" in refusal(db, "a2", "shop")
    for n in range(6):
        make(db, f"b{n}", "b.example.com:9092")
    assert refusal(db, "c0", "market").endswith("no room for it: ask who gave you the API key")
    for n in range(6, 8):
        make(db, f"b{n}", "b.example.com:9092")
    assert "of at most 10 connectors that do there are 10" in refusal(db, "b8")


def test_by_default_there_are_at_most_20_connectors_and_5_of_a_key(db: Session) -> None:
    for n in range(5):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    assert "at most 5" in refusal(db, "a5", "shop")
    for n in range(15):
        make(db, f"b{n}", "b.example.com:9092")
    assert "at most 20" in refusal(db, "b15")


BEYOND = """
    select array_agg(name order by name)
    from outbox.connector_beyond_quota join outbox.subscription using (id)
"""


def test_where_the_quota_is_lowered_the_latest_are_beyond_it(db: Session) -> None:
    """What of a key's is beyond its share takes no place from others."""
    for n in range(4):
        make(db, f"a{n}", "a.example.com:9092", "shop")
    for n in range(3):
        make(db, f"b{n}", "b.example.com:9092")
    assert one(db, BEYOND) is None
    db.execute("update outbox.quota set connectors_of_a_key = 1")
    assert one(db, BEYOND) == ["a1", "a2", "a3"]
    db.execute("update outbox.quota set connectors = 3")
    assert one(db, BEYOND) == ["a1", "a2", "a3", "b2"]


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


HUB = {"namespace": "shop-events", "credentials": "hub"}
TO_HUB = "select outbox.connect('hub', 'orders', 'event_hubs', %s)"


def test_a_connector_to_event_hubs_is_one_to_another_cluster(db: Session) -> None:
    config = {**HUB, "event_hub": "orders"}
    made = one(db, TO_HUB, Jsonb(config))
    shown = db.execute("select id, type, channels, config, delivery from outbox.connector")
    assert shown.fetchall() == [(made, "event_hubs", ["orders"], config, "at_least_once")]
    told = db.execute(
        "select kind, outbox.other_cluster(settings)::jsonb,"
        " outbox.connector_topic(settings, channels),"
        " outbox.connector_topic(settings - 'event_hub', array['parcels', 'a']),"
        " outbox.connector_topic(settings - 'event_hub', array['parcels'])"
        " from outbox.subscription where name = 'hub'"
    ).fetchone()
    assert told == ("kafka", HUB, "orders", "", "parcels")


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({}, "settings.namespace is required"),
        ({**HUB, "namespace": 1}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "short"}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "1-events"}, "settings.namespace must be the name of a namespace"),
        ({**HUB, "namespace": "x" * 51}, "settings.namespace must be the name of a namespace"),
        (
            {**HUB, "namespace": "sb://shop-events/"},
            "settings.namespace must be the name of a namespace",
        ),
        ({**HUB, "namespace": "shop.example.com:0"}, "settings.namespace must be the name"),
        ({**HUB, "event_hub": "a b"}, "settings.event_hub must be the name of an event hub"),
        ({**HUB, "event_hub": "-a"}, "settings.event_hub must be the name of an event hub"),
        ({**HUB, "event_hub": "outbox.cursors"}, "settings.event_hub must not be the topic"),
        ({**HUB, "topic": "orders"}, "settings.topic is not of Event Hubs"),
        ({**HUB, "topic_prefix": "a"}, "settings.topic_prefix is not of Event Hubs"),
        ({**HUB, "brokers": BROKERS}, "settings.brokers is not of Event Hubs"),
        ({**HUB, "security": "sasl_ssl"}, "settings.security is not of Event Hubs"),
        ({**HUB, "connection_string": "x"}, "settings.connection_string is not known"),
        ({"namespace": "shop-events"}, "settings.credentials is required with a namespace"),
    ],
)
def test_settings_of_a_namespace_that_do_not_fit_are_refused_by_name(
    db: Session, config: dict[str, object], fault: str
) -> None:
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(TO_HUB, [Jsonb(config)])
    assert (refused.value.diag.message_primary or "").startswith(fault)
    assert refused.value.diag.column_name == "settings"


@pytest.mark.parametrize(
    "namespace",
    ["shop-events", "shop.servicebus.chinacloudapi.cn", "shop.example.com:9093", "localhost:9093"],
)
def test_a_namespace_has_a_name_or_is_a_host(db: Session, namespace: str) -> None:
    db.execute(TO_HUB, [Jsonb({**HUB, "namespace": namespace})])


def test_event_hubs_get_nothing_exactly_once_and_say_why(db: Session) -> None:
    reason = "settings.delivery must be at_least_once: .* promise no transactions"
    with pytest.raises(errors.CheckViolation, match=reason) as refused:
        db.execute(
            "select outbox.connect('hub', 'orders', 'event_hubs', %s, delivery => 'exactly_once')",
            [Jsonb(HUB)],
        )
    assert refused.value.diag.column_name == "settings"
    db.execute(TO_HUB, [Jsonb(HUB)])
    with pytest.raises(errors.CheckViolation, match=reason):
        db.execute("update outbox.subscription set delivery = 'exactly_once' where name = 'hub'")


def test_a_connector_stays_one_to_event_hubs_or_to_kafka(db: Session) -> None:
    db.execute(TO_HUB, [Jsonb(HUB)])
    db.execute(CONNECT, [Jsonb({"brokers": BROKERS})])
    change = "update outbox.subscription set settings = %s where name = %s"
    for settings, name in (({"brokers": BROKERS}, "hub"), (HUB, "warehouse"), (HUB, "kafka")):
        with pytest.raises(errors.CheckViolation, match=r"^settings\.namespace"):
            db.execute(change, [Jsonb(settings), name])
    db.execute(change, [Jsonb({**HUB, "namespace": "stock-events"}), "hub"])


def test_what_is_of_a_namespace_needs_its_name(db: Session) -> None:
    with pytest.raises(errors.CheckViolation, match=r"settings\.event_hub is of Event Hubs"):
        db.execute(CONNECT, [Jsonb({"brokers": BROKERS, "event_hub": "a"})])


def test_a_namespace_counts_as_a_cluster(db: Session) -> None:
    db.execute("update outbox.quota set connectors = 1")
    make(db, "a", "a.example.com:9092")
    with pytest.raises(errors.CheckViolation, match="namespace names another cluster") as refused:
        db.execute(TO_HUB, [Jsonb(HUB)])
    assert refused.value.diag.column_name == "namespace"


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


DEAD_LETTERS = """
    insert into outbox.source_dead_letter
        (source_id, topic, partition, record_offset, header_names, header_values, reason, detail)
    select source_id, 'shop', 0, n, '{}', '{}', 'refused', 'as a test wants it'
    from unnest(%s::bigint[]) as source_id cross join generate_series(1, 2) as n
    returning id
"""
DISCARD = "select outbox.discard_source_dead_letters(%s::bigint, %s::bigint[])"


def test_of_inward_connectors_only_named_dead_letters_are_forgotten(db: Session) -> None:
    one_id, other_id = (
        one(db, "select outbox.connect_in(%s, 'orders', 'kafka', %s)", name, Jsonb({"topic": name}))
        for name in ("shop", "store")
    )
    ids = [found for (found,) in db.execute(DEAD_LETTERS, [[one_id, other_id]])]
    left = "select array_agg(id order by id) from outbox.source_dead_letter"
    assert one(db, DISCARD, None, None) == 0
    assert one(db, DISCARD, other_id, ids[:1]) == 0
    assert one(db, left) == ids
    assert one(db, DISCARD, one_id, None) == 2
    assert one(db, DISCARD, None, ids[2:3]) == 1
    assert one(db, left) == ids[3:]


CONNECT_IN = "select outbox.connect_in('shop', 'orders', %s, %s, priority => %s)"
FROM_QUEUE = {"queue_url": QUEUE, "region": "eu-central-1"}
FROM_TOPIC = {"topic": "shop.orders", "brokers": BROKERS}


def test_what_an_inward_connector_takes_in_has_one_priority_from_1_to_5(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 1])
    db.execute("select outbox.connect_in('store', 'orders', 'sqs', %s)", [Jsonb(FROM_QUEUE)])
    found = db.execute("select name, priority from outbox.source_state order by name")
    assert found.fetchall() == [("shop", 1), ("store", 3)]
    for priority in (0, 6):
        with pytest.raises(errors.CheckViolation, match="source_priority_is_1_to_5"):
            db.execute(CONNECT_IN, ["kafka", Jsonb({"topic": "t"}), priority])


CHANGE = "update outbox.source set settings = settings || %s returning settings"


@pytest.mark.parametrize(
    ("kind", "config", "name", "other"),
    [
        ("kafka", FROM_TOPIC, "topic", "shop.parcels"),
        ("sqs", FROM_QUEUE, "queue_url", QUEUE.replace("orders", "parcels")),
    ],
)
def test_what_is_taken_in_stays_the_same(
    db: Session, kind: str, config: dict[str, str], name: str, other: str
) -> None:
    db.execute(CONNECT_IN, [kind, Jsonb(config), 3])
    with pytest.raises(errors.CheckViolation) as refused:
        db.execute(CHANGE, [Jsonb({name: other})])
    assert (refused.value.diag.message_primary or "").startswith(
        f"settings.{name} is fixed at creation, since"
    )
    assert one(db, CHANGE, Jsonb({name: config[name]})) == config


def test_a_priority_stays_since_a_later_message_could_overtake(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 3])
    with pytest.raises(errors.CheckViolation, match="priority is fixed at creation: what comes"):
        db.execute("update outbox.source set priority = 1")


def test_where_it_is_taken_from_and_as_whom_may_change(db: Session) -> None:
    db.execute(CONNECT_IN, ["kafka", Jsonb(FROM_TOPIC), 3])
    change = {"brokers": "b-9.example.com:9093", "security": "ssl", "credentials": "shop"}
    assert one(db, CHANGE, Jsonb(change)) == {**FROM_TOPIC, **change}
