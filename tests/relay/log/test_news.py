"""News of the log is told once, when it can be seen, and by its priority."""

import pytest

from relay.log.news import News
from tests.relay.conftest import Open
from tests.relay.recording import Relay
from tests.sql.log import Session, publish


@pytest.fixture
def news(relay: Relay) -> News:
    return News(relay.connection, relay.settings.name)


def test_what_is_published_is_told_once_with_its_priority(db: Session, news: News) -> None:
    assert news.look() == frozenset()
    publish(db, priority=1)
    publish(db, priority=4)
    assert news.look() == {1, 4}
    assert news.look() == frozenset()
    assert news.look() == frozenset()
    publish(db, priority=4)
    assert news.look() == {4}


def test_a_late_commit_is_told_when_it_comes(db: Session, open_session: Open, news: News) -> None:
    late = open_session()
    late.execute("begin")
    publish(late, priority=2)
    publish(db, priority=5)
    assert news.look() == {5}
    assert news.look() == frozenset()
    late.execute("commit")
    assert news.look() == {2}


def test_what_is_rolled_back_or_no_message_is_no_news(
    db: Session, open_session: Open, news: News
) -> None:
    writer = open_session()
    writer.execute("begin")
    publish(writer)
    writer.execute("rollback")
    db.execute("update outbox.subscription set paused = paused")
    assert news.look() == frozenset()
