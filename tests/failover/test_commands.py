"""Commands find the primary by its name, and say why where there is none that takes writes."""

import os
import subprocess

import pytest

from local.program import script
from tests.pair import Pair
from tests.servers import TEMPLATE

pytestmark = pytest.mark.long

CHANGE = ("subscriptions", "pause", "kafka")
COMMANDS = [("status",), ("doctor",), ("subscriptions",), ("channels", "list"), CHANGE]


def ended(pair: Pair, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command on the pair's address, when it is over."""
    environment = os.environ | {
        "DATABASE_URL": pair.url(TEMPLATE),
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    }
    return subprocess.run(
        [script("outbox-relay"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.timeout(180)
def test_each_says_that_there_is_no_primary_and_works_at_the_next_one(pair: Pair) -> None:
    pair.fence()
    refused = ended(pair, *CHANGE)
    assert refused.returncode != 0
    assert "takes no writes: default_transaction_read_only is on there" in refused.stderr
    pair.switch()
    for command in COMMANDS:
        refused = ended(pair, *command)
        said = refused.stdout + refused.stderr
        assert refused.returncode != 0, command
        assert "standby" in said, (command, said)
        assert "Traceback" not in said, (command, said)
    pair.promote()
    for command in COMMANDS:
        done = ended(pair, *command)
        # The doctor finds that Kafka can't be reached.
        assert done.returncode == 0 or command == ("doctor",), (command, done.stderr)
        assert "standby" not in done.stdout + done.stderr, command
