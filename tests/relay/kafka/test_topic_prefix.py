"""A subscription's own topic prefix: one channel to topics of its own."""

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.eventually import eventually
from tests.relay.stage import Stage
from tests.sql.log import Session

pytest_plugins = ["tests.relay.stage_fixtures"]

INSERT = "insert into outbox.subscription (name, settings) values (%s, %s)"

INSERT_CHANNELS = "insert into outbox.subscription (name, settings, channels) values (%s, %s, %s)"


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
    with pytest.raises(errors.CheckViolation, match=r"^settings\.topic_pref"):
        db.execute(INSERT, ["odd", settings])


RESERVED = "topics_are_not_outbox_cursors_which_is_the_relays_own"
# Each names the topic of the relay's own cursors, in whatever two parts.
IN_FULL = [("outbox.", "cursors"), ("o", "utbox.cursors"), ("outbox.cursor", "s")]


@pytest.mark.parametrize(
    ("prefix", "channel"), [*IN_FULL, ("", "outbox.cursors"), (None, "outbox.cursors")]
)
def test_a_subscription_to_the_relays_own_topic_is_refused(
    db: Session, prefix: str | None, channel: str
) -> None:
    """When it is made, and when its prefix or its channels come to be so."""
    settings = Jsonb({} if prefix is None else {"topic_prefix": prefix})
    channels = ["orders", channel]
    with pytest.raises(errors.CheckViolation, match=RESERVED):
        db.execute(INSERT_CHANNELS, ["odd", settings, channels])
    db.execute(INSERT_CHANNELS, ["odd", settings, ["orders"]])
    with pytest.raises(errors.CheckViolation, match=RESERVED):
        db.execute("update outbox.subscription set channels = %s where name = 'odd'", [channels])
    db.execute("delete from outbox.subscription where name = 'odd'")
    db.execute(INSERT_CHANNELS, ["odd", Jsonb({"topic_prefix": "x."}), channels])
    with pytest.raises(errors.CheckViolation, match=RESERVED):
        db.execute("update outbox.subscription set settings = %s where name = 'odd'", [settings])


def test_names_that_only_look_like_it_and_endpoints_are_not_refused(db: Session) -> None:
    for number, (prefix, channel) in enumerate(
        [("outbox.", "cursor"), ("outbox.cursors", "x"), ("x.", "outbox.cursors"), ("", "cursors")]
    ):
        settings = Jsonb({"topic_prefix": prefix})
        db.execute(INSERT_CHANNELS, [f"fine-{number}", settings, [channel]])
    db.execute("select outbox.subscribe('endpoint', 'outbox.cursors', 'http://127.0.0.1/')")


def test_what_would_go_to_kafkas_own_topics_becomes_dead_letters_and_the_others_go(
    stage: Stage,
) -> None:
    """Waiting would not end: no client may make those topics, or write to them."""
    orders = stage.create_topic("orders")
    internal = ["__consumer_offsets", "__transaction_state", "__cluster_metadata"]
    for channel in (orders, *internal, orders):
        stage.publish(2, channel)
    assert stage.relay("--once", RELAY_TOPIC_PREFIX="").wait(60) == 0
    assert len(stage.arrivals("orders")) == 4
    dead_letters = stage.query("select reason, detail from outbox.dead_letter order by message_id")
    for channel, (reason, detail) in zip(internal, dead_letters[::2], strict=True):
        assert (reason, channel in detail) == ("TOPIC_IS_KAFKAS_OWN", True)


@pytest.mark.long
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize(("prefix", "channel"), IN_FULL)
def test_what_would_go_to_the_relays_own_topic_becomes_a_dead_letter_and_the_others_go(
    stage: Stage, delivery: str, prefix: str, channel: str
) -> None:
    """A subscription to all channels can't tell beforehand which names there will be."""
    once = stage.exactly_once()
    once.execute("update outbox.subscription set paused = true where name = 'kafka'")
    once.execute(
        "insert into outbox.subscription (name, delivery, settings) values ('all', %s, %s)",
        delivery,
        Jsonb({"topic_prefix": prefix}),
    )
    own = stage.create_topic("outbox.cursors", partitions=1)
    stage.create_topic(prefix + "orders")
    stage.publish(5, "orders")
    stage.publish(3, channel)
    stage.publish(5, "orders")
    stage.relay()

    def have_gone() -> None:
        assert len(stage.arrivals(prefix + "orders")) == 10
        assert [reason for _, reason in stage.dead_letters()] == ["TOPIC_IS_THE_RELAYS_OWN"] * 3

    eventually(have_gone, 30)
    assert stage.arrivals("outbox.cursors") == []
    ((detail,),) = stage.query("select distinct detail from outbox.dead_letter")
    assert own in detail
    assert "topic_prefix" in detail
    # Sent again it goes nowhere else.
    stage.execute("select outbox.redrive(array(select id from outbox.dead_letter))")

    def dead_again() -> None:
        assert stage.query("select count(*) from outbox.delivery") == [(0,)]

    eventually(dead_again, 30)
    assert stage.arrivals("outbox.cursors") == []
