"""The doctor meets a pooler, and tells the one that a relay can't work behind."""

from collections.abc import Iterator

import pytest

from relay.doctor import examination
from relay.doctor.finding import Finding
from tests.pooled import pooled
from tests.relay.operating import settings

pytestmark = pytest.mark.long


def findings(database_url: str, pool_mode: str) -> Iterator[Finding]:
    with pooled(database_url, {"pool_mode": pool_mode}) as pooler:
        yield from examination.examine(
            settings(pooler.url(database_url), KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
        )


@pytest.mark.parametrize(
    ("pool_mode", "level"), [("session", "ok"), ("transaction", "ok"), ("statement", "fault")]
)
def test_the_mode_is_judged(
    database_url: str, pool_mode: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.doctor.kafka.KAFKA_TIMEOUT_SECONDS", 0.5)
    found = {one.what: one for one in findings(database_url, pool_mode)}
    assert found["pooler"].level == level
    assert "there is one" in found["pooler"].text or "transaction" in found["pooler"].hint
    assert found["database"].level == "ok"
