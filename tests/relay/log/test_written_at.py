"""When a message was written is sent by RFC 3339, the year with four digits."""

from datetime import UTC, datetime

import pytest

from relay.log.encoding import NotEncodable, time_text

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
DAY_MICROSECONDS = 86_400_000_000


@pytest.mark.parametrize(
    "text",
    [
        "2000-01-01T00:00:00.000000Z",
        "1999-12-31T23:59:59.999999Z",
        "2026-02-28T12:00:00.000007Z",
        "0999-01-01T00:00:00.000000Z",
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.999999Z",
    ],
)
def test_each_microsecond_of_four_digit_years_has_its_text(text: str) -> None:
    since = datetime.fromisoformat(text) - EPOCH
    created_at = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    assert time_text(created_at) == text.encode()


@pytest.mark.parametrize("created_at", [-730_120 * DAY_MICROSECONDS, 2**63 - 1, -(2**63)])
def test_other_years_are_refused_by_name(created_at: int) -> None:
    with pytest.raises(NotEncodable, match="created_at: the year is not 1 to 9999"):
        time_text(created_at)
