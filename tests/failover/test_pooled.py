"""Behind a pooler that keeps its connections to the former primary, a RECONNECT is enough."""

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.failover.test_service import ready
from tests.pair import Pair
from tests.pooled import pooled
from tests.relay.stage import Stage
from tests.servers import TEMPLATE
from tests.service.conftest import JSON
from tests.service.shop import Shop

pytestmark = pytest.mark.long


@pytest.mark.timeout(180)
def test_service_and_relay_wait_for_it_and_go_on(
    pair: Pair, kafka: str, topic_prefix: str, spawn: Spawn
) -> None:
    stage = Stage(pair.url(TEMPLATE), kafka, topic_prefix, spawn)
    stage.create_topic("orders.lifecycle")
    with pooled(stage.database_url) as pooler:
        url = pooler.url(stage.database_url)
        relay = stage.relay(DATABASE_URL=url)
        app = create_app(Settings(database_url=url, pool_size=4, database_timeout_seconds=5))
        with (
            TestClient(app, raise_server_exceptions=False, headers=JSON) as client,
            stage.database() as database,
        ):
            shop = Shop(client, database)
            shop.processing_order()
            stage.all_arrived("orders.lifecycle")
            pair.fence()
            ready(client, 503)
            pair.switch()
            pair.promote()

            def waits() -> None:
                assert "takes no writes" in relay.output()

            eventually(waits, 30)
            pooler.tell("reconnect")
            eventually(lambda: ready(client, 200), 20)
            Shop(client, database).step(
                Shop(client, database).order(number="N-2")["id"], "payments"
            )
            stage.all_arrived("orders.lifecycle")
