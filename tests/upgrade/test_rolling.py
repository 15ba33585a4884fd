"""A rolling upgrade: the schema, then relay by relay, and back, while messages come and go."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psycopg
import pytest
from psycopg.types.json import Jsonb

from local.program import Program
from relay import migrations
from tests.conftest import Spawn
from tests.eventually import eventually
from tests.log_reader import read_log, reckon
from tests.receiver import OK, Receiver, respond
from tests.relay.operating import outbox_relay
from tests.relay.push.stage import ALLOWED, INSERT, NEVER_OPENS, Answers
from tests.relay.stage import Stage
from tests.relay.writers import writing
from tests.sql.log import Session
from tests.upgrade import next_version

pytestmark = pytest.mark.long

SUBSCRIBE = "select outbox.subscribe(%s, 'orders', %s, %s)"
AGAIN_AND_AGAIN = {"schedule_seconds": [1] * 100, "jitter": 0}
TWICE = {"schedule_seconds": [0], "jitter": 0}
KAFKA = """
    update outbox.subscription set channels = '{orders}' where name = 'kafka';
    insert into outbox.subscription (name, channels, delivery, settings)
    values ('once', '{orders}', 'exactly_once', '{"topic_prefix": "once."}');
"""


class Upgrade:
    """A database under way: two topics, two endpoints, and the relays of two versions."""

    def __init__(self, stage: Stage, db: Session, spawn: Spawn, receiver: Receiver) -> None:
        self.stage, self.db, self._spawn = stage, db, spawn
        self.billing = Answers().give("slow:1", respond(503))
        self.ledger = Answers().give("dead:1", respond(422))
        receiver.paths = {"/billing": self.billing, "/ledger": self.ledger}
        for topic in ("orders", "once.orders"):
            stage.create_topic(topic)
        db.execute(KAFKA)
        for name, retry in (("billing", AGAIN_AND_AGAIN), ("ledger", TWICE)):
            settings = Jsonb({"retry": retry, "breaker": NEVER_OPENS})
            db.execute(SUBSCRIBE, [name, f"{receiver.url}/{name}", settings])

    def publish(self, *keys: str) -> None:
        values = {"keys": list(keys), "type": "order.paid", "priority": 3, "channel": "orders"}
        self.db.execute(INSERT, values)

    def relay(self, name: str, port: int) -> Program:
        """Starts one of this version; it is ready when it returns."""
        return self._spawn(
            "outbox-relay",
            "run",
            environment=self._environment(name, port),
            ready_url=f"http://127.0.0.1:{port}/readyz",
        )

    def next_relay(self, directory: Path, name: str, port: int) -> Program:
        """Starts one of the next version."""
        return self._next(directory, "run", self._environment(name, port))

    def migrate(self, directory: Path) -> list[str]:
        """What the next version says that it has migrated."""
        program = self._next(directory, "migrate", self.stage.environment())
        assert program.wait(60) == 0, program.output()
        return re.findall(r"^migrated (.*)$", program.output(), re.MULTILINE)

    def _next(self, directory: Path, command: str, environment: Mapping[str, str]) -> Program:
        version = str(next_version.__file__)
        return self._spawn("python", version, str(directory), command, environment=environment)

    def _environment(self, name: str, port: int) -> dict[str, str]:
        return self.stage.environment(RELAY_NAME=name, RELAY_PORT=str(port), **ALLOWED)

    def checkpoints(self, relay: str) -> int:
        """How many it has written."""
        query = "select count(*) from outbox.checkpoint where relay = %s"
        ((count,),) = self.stage.query(query, relay)
        return int(count)

    def works(self, *relays: str) -> None:
        """Waits until each has written one more checkpoint."""
        for relay in relays:
            before = self.checkpoints(relay)

            def went_on(relay: str = relay, before: int = before) -> None:
                assert self.checkpoints(relay) > before, f"{relay} stands still"

            eventually(went_on, 30)

    def has_a_dead_letter(self) -> None:
        """Raises AssertionError until one was given up, and no other."""
        assert len(self.stage.dead_letters()) == 1

    def accepted_in_order(self, accepted: Sequence[str], *, but: str | None = None) -> None:
        """Raises AssertionError until an endpoint has accepted all, each group in its order."""
        written = {one.idempotency_key: one for one in read_log(self.stage.database_url, "orders")}
        assert written.keys() - {but} <= set(accepted)
        last: dict[bytes | None, int] = {}
        for key in dict.fromkeys(accepted):
            message = written[key]
            assert message.id > last.get(message.group_key, 0), f"{key} came late"
            last[message.group_key] = message.id


def told(relay: Program, event: str) -> None:
    """Raises AssertionError until its log has it."""
    assert event in relay.output()


def once_in_order(stage: Stage) -> None:
    """Raises AssertionError until the topic of the exactly-once subscription has each once."""
    reckoning = reckon(read_log(stage.database_url, "orders"), stage.arrivals("once.orders"))
    reckoning.demand_all_in_order()
    assert reckoning.repeats == 0


@pytest.fixture
def upgrade(former_url: str, kafka: str, topic_prefix: str, spawn: Spawn) -> Iterator[Upgrade]:
    stage = Stage(former_url, kafka, topic_prefix, spawn)
    with Receiver() as receiver, psycopg.connect(former_url, autocommit=True) as db:
        yield Upgrade(stage, db, spawn, receiver)


def test_two_versions_side_by_side_lose_nothing_and_keep_the_order_there_and_back(
    upgrade: Upgrade, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    stage, environment = upgrade.stage, upgrade.stage.environment()
    upgrade.publish("slow:1", "slow:2", "dead:1", "a:1")
    assert outbox_relay("migrate", environment=environment).returncode == 0
    directory = tmp_path / "next"
    brought = next_version.bring(directory, compatible_from=migrations.known()[-1].version)
    former = upgrade.relay("former", free_port())
    with writing(stage.database_url, "orders", seed=32, writers=1):
        upgrade.works("former")
        eventually(upgrade.has_a_dead_letter)

        assert upgrade.migrate(directory) == brought
        upgrade.works("former")
        next_relay = upgrade.next_relay(directory, "next", free_port())
        upgrade.works("former", "next")

        # One that dies meanwhile comes back to a schema that is newer than it.
        former.kill()
        former.launch()
        eventually(lambda: told(former, "schema_is_newer"))
        upgrade.works("former", "next")

    # And back: the former version alone ends what the next one has begun.
    assert next_relay.stop() == 0
    upgrade.publish("b:1")
    upgrade.billing.give("slow:1", OK)
    stage.all_arrived("orders", timeout_seconds=60)
    eventually(lambda: once_in_order(stage), 30)
    eventually(lambda: upgrade.accepted_in_order(upgrade.billing.accepted), 30)
    eventually(lambda: upgrade.accepted_in_order(upgrade.ledger.accepted, but="dead:1"), 30)

    upgrade.ledger.give("dead:1", OK)
    redrive = ("dead-letters", "redrive", "--all", "--subscription", "ledger")
    assert outbox_relay(*redrive, environment=environment).returncode == 0
    eventually(lambda: upgrade.accepted_in_order(upgrade.ledger.accepted), 30)
    assert "deadlock" not in former.output() + next_relay.output()
