"""`ce_dataschema`: which version of its type a message was checked against and fits."""

from tests.event_types import DOES_NOT, FITS, ORDER, register
from tests.relay.stage import Stage
from tests.topic_reader import Arrival

pytest_plugins = ["tests.relay.stage_fixtures"]

URL = "https://api.shop.example/v1/event-types"
PUBLISH = "select outbox.publish('orders', 'order.created', %s, headers => %s)"
WIDER = {**ORDER, "properties": {**ORDER["properties"], "note": {}}}


def schemas(arrivals: list[Arrival]) -> list[bytes | None]:
    return [dict(one.headers).get("ce_dataschema") for one in arrivals]


def publish(stage: Stage, payload: str = FITS, headers: str | None = None) -> None:
    stage.execute(PUBLISH, payload, headers)


def expected(version: int) -> bytes:
    return f"{URL}/order.created/versions/{version}".encode()


def test_each_message_names_the_version_that_it_fits_whichever_is_in_force_by_now(
    stage: Stage,
) -> None:
    stage.create_topic("orders", partitions=1)
    publish(stage)
    with stage.database() as connection:
        register(connection, "order.created", enforcement="report")
        publish(stage)
        publish(stage, headers='{"a": "b"}')
        publish(stage, DOES_NOT)
        register(connection, "order.created", WIDER, enforcement="report")
        publish(stage)
    assert stage.relay("--once", RELAY_EVENT_TYPES_URL=f"{URL}/").wait(30) == 0
    told = [None, expected(1), expected(1), None, expected(2)]
    assert schemas(stage.arrivals("orders")) == told
    # A replay says the same again.
    stage.execute("select outbox.replay('kafka', from_message_id => 0)")
    assert stage.relay("--once", RELAY_EVENT_TYPES_URL=URL).wait(30) == 0
    assert schemas(stage.arrivals("orders")) == told * 2


def test_without_an_address_of_the_catalogue_there_is_none(stage: Stage) -> None:
    stage.create_topic("orders", partitions=1)
    with stage.database() as connection:
        register(connection, "order.created")
    publish(stage)
    assert stage.relay("--once").wait(30) == 0
    assert schemas(stage.arrivals("orders")) == [None]
