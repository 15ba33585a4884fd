"""A key that is limited to channels, and a subscription on either side of the limit."""

import pytest

from service.web.access.keys import SCOPES
from tests.service.api import Platform
from tests.service.platform.limited import Limited


@pytest.fixture
def limited(platform: Platform) -> Limited:
    prefix = platform.name("mine")
    return Limited(
        platform,
        prefix,
        platform.key(*SCOPES, channels=[f"{prefix}.*"]),
        platform.subscription(channelId=f"{prefix}.orders"),
        platform.subscription(),
    )
