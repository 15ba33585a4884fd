"""After a failover the service leaves the former server, and goes on at the new one by itself."""

from collections.abc import Callable

import psycopg
import pytest
from starlette.testclient import TestClient

from tests.eventually import eventually
from tests.pair import Pair
from tests.servers import TEMPLATE
from tests.service.shop import ORDERS, Shop

pytestmark = pytest.mark.long


def ready(client: TestClient, status: int) -> None:
    """Raises AssertionError while it says something else."""
    assert client.get("/readyz").status_code == status


@pytest.mark.timeout(180)
@pytest.mark.parametrize("lose", [Pair.fence, Pair.demote], ids=["read_only", "recovery"])
def test_it_is_ready_where_it_could_write_and_refuses_no_request_then(
    pair: Pair, client: TestClient, lose: Callable[[Pair], None]
) -> None:
    with psycopg.connect(pair.primary.dsn(TEMPLATE), autocommit=True) as database:
        shop = Shop(client, database)
        order = shop.order()
        pair.switch()
    lose(pair)
    ready(client, 503)
    assert client.post(f"{ORDERS}/{order['id']}/payments").status_code == 503
    pair.promote()
    eventually(lambda: ready(client, 200), 20)
    for _ in range(8):
        shop.order()
