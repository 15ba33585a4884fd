"""After a failover the relay's pool leaves the former server at once, however many it has there."""

from contextlib import ExitStack

import psycopg
import pytest

from relay.database import borrowed, pool, transaction
from relay.settings import Settings
from tests.pair import Pair
from tests.servers import TEMPLATE

pytestmark = pytest.mark.long

CONNECTIONS = 5
PORT = "select inet_server_port()"


@pytest.mark.timeout(120)
def test_one_refusal_is_enough(pair: Pair) -> None:
    settings = Settings(database_url=pair.url(TEMPLATE), kafka={}, push_connections=CONNECTIONS)
    with pool(settings) as connections:
        with ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(borrowed(connections))
        pair.fence()
        pair.switch()
        pair.promote()
        with (
            pytest.raises(psycopg.OperationalError, match="takes no writes"),
            borrowed(connections) as connection,
            transaction(connection),
        ):
            pass
        for _ in range(CONNECTIONS):
            with borrowed(connections) as connection, transaction(connection):
                assert connection.execute(PORT).fetchone() == (pair.primary.port,)
