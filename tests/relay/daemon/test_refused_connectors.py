"""Which connectors get no session with their cluster."""

from typing import cast

import pytest
from msgspec.structs import replace

from relay.daemon.refused_connectors import BEYOND_QUOTA, MAX_LEFT, RefusedConnectors
from relay.daemon.worker import Worker
from relay.log.cursor import Cursor, SinkSettings
from relay.log.run import Runs

OWN = Cursor(1, 1, "s", "kafka", 0, 3, None, 1, "", None, None, SinkSettings())
FAR = replace(OWN, sink_settings=SinkSettings(cluster="far"), made_by="shop")
OTHER = replace(FAR, sink_settings=SinkSettings(cluster="other"))


class Thread:
    """A worker of a connector, as it is seen from here."""

    def __init__(self, cluster: str, made_by: str | None) -> None:
        self.cluster, self.made_by, self.alive = cluster, made_by, True


def thread(cluster: str = "far", made_by: str | None = "shop") -> Worker[Runs]:
    return cast("Worker[Runs]", Thread(cluster, made_by))


@pytest.fixture
def refused() -> RefusedConnectors:
    return RefusedConnectors("one")


def test_one_beyond_the_quota_goes_on_with_no_session(refused: RefusedConnectors) -> None:
    refused.update({1})
    assert refused.refuses(FAR)
    assert refused.reason(FAR) == BEYOND_QUOTA
    assert not refused.refuses(replace(FAR, subscription_id=2))
    refused.update(set())
    assert not refused.refuses(FAR)


def test_where_a_call_to_a_cluster_does_not_return_no_further_one_begins(
    refused: RefusedConnectors,
) -> None:
    """Sessions that are there go on: they may have been opened before."""
    stuck = thread()
    refused.abandon(stuck)
    assert refused.refuses_to_begin(FAR)
    assert refused.refuses_to_begin(replace(FAR, made_by=None))
    assert not refused.refuses(FAR)
    assert not refused.refuses_to_begin(OTHER)
    assert not refused.refuses_to_begin(OWN)
    cast("Thread", stuck).alive = False
    assert not refused.refuses_to_begin(FAR)
    assert refused.stuck == 0


@pytest.mark.parametrize("owner", ["shop", None])
def test_who_has_many_sessions_that_do_not_end_begins_no_other(
    refused: RefusedConnectors, owner: str | None
) -> None:
    """Connectors may be made and deleted faster than their sessions end. Others are free."""
    left = [thread(f"cluster {n}", owner) for n in range(MAX_LEFT)]
    for n, worker in enumerate(left):
        assert not refused.refuses_to_begin(replace(OTHER, made_by=owner))
        (refused.end if n % 2 else refused.abandon)(worker)
    assert refused.refuses_to_begin(replace(OTHER, made_by=owner))
    assert not refused.refuses_to_begin(replace(OTHER, made_by="market"))
    assert not refused.refuses_to_begin(replace(OWN, made_by=owner))
    cast("Thread", left[0]).alive = False
    assert not refused.refuses_to_begin(replace(OTHER, made_by=owner))
