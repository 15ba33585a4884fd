"""After a failover the relay leaves the former server, and goes on at the new one by itself."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest

from local.program import Program
from tests.eventually import eventually
from tests.pair import Pair
from tests.relay.stage import ExactlyOnceStage

pytestmark = pytest.mark.long

Port = Callable[[], int]


def waits(relay: Program, port: int) -> None:
    """Raises AssertionError until the relay says that it waits, and for what."""
    assert "takes no writes" in relay.output() or "hot standby" in relay.output()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10)
    with refused.value:
        assert refused.value.code == 503


@pytest.mark.timeout(180)
@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
@pytest.mark.parametrize("lose", [Pair.fence, Pair.demote], ids=["read_only", "recovery"])
def test_what_the_new_primary_takes_goes_within_seconds(
    pair: Pair,
    stage: ExactlyOnceStage,
    delivery: str,
    lose: Callable[[Pair], None],
    free_port: Port,
    record_property: Callable[[str, object], None],
) -> None:
    stage.deliver(delivery)
    stage.create_topic("orders")
    port = free_port()
    relay = stage.relay(RELAY_PORT=str(port))
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    if lose is Pair.demote:
        pair.switch()
        lose(pair)
    else:
        lose(pair)
        pair.switch()
    eventually(lambda: waits(relay, port), 30)
    pair.promote()
    promoted_at = time.monotonic()
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    seconds = time.monotonic() - promoted_at
    record_property("seconds_from_the_promotion", round(seconds, 1))
    print(f"{seconds:.1f} s")
    assert stage.dead_letters() == []
    assert '"database_back"' in relay.output()


@pytest.mark.timeout(120)
def test_a_server_that_was_read_only_for_a_while_is_worked_for_again(
    pair: Pair, stage: ExactlyOnceStage, free_port: Port
) -> None:
    stage.create_topic("orders")
    port = free_port()
    relay = stage.relay(RELAY_PORT=str(port))
    stage.publish(10, "orders")
    stage.all_arrived("orders")
    pair.fence()
    eventually(lambda: waits(relay, port), 30)
    pair.unfence()
    stage.publish(10, "orders")
    stage.all_arrived("orders")
