"""News of the log is told once, when it can be seen: which kinds of messages, by priority."""

import pytest

from relay.log import news as module
from relay.log.news import News
from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, publish

ORDERS = (b"orders", b"event")


@pytest.fixture
def news(relay: Relay) -> News:
    return News(relay.connection, relay.settings.name)


def test_what_is_published_is_told_once_with_its_kind(db: Session, news: News) -> None:
    assert news.look() == {}
    publish(db, priority=1)
    publish(db, priority=1)
    publish(db, priority=4)
    publish(db, channel="parcels", priority=4)
    assert news.look() == {1: {ORDERS}, 4: {ORDERS, (b"parcels", b"event")}}
    assert news.look() == {}
    assert news.look() == {}
    publish(db, priority=4)
    assert news.look() == {4: {ORDERS}}


def test_of_too_many_it_is_not_told_which_they_are(
    db: Session, news: News, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TOLD", 5)
    with db.transaction():
        for n in range(6):
            publish(db, channel=f"orders-{n}", priority=2)
        publish(db)
    assert news.look() == {2: None, 3: {ORDERS}}


def test_a_late_commit_is_told_when_it_comes(db: Session, open_session: Open, news: News) -> None:
    late = open_session()
    late.execute("begin")
    publish(late, priority=2)
    publish(db, priority=5)
    assert news.look() == {5: {ORDERS}}
    assert news.look() == {}
    late.execute("commit")
    assert news.look() == {2: {ORDERS}}


def test_what_is_rolled_back_or_no_message_is_no_news(
    db: Session, open_session: Open, news: News
) -> None:
    writer = open_session()
    writer.execute("begin")
    publish(writer)
    writer.execute("rollback")
    db.execute("update outbox.subscription set paused = paused")
    assert news.look() == {}
