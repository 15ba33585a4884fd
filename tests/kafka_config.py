"""Changes the configuration of a topic or a broker, as an operator does."""

from collections.abc import Mapping

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.eventually import eventually

ADMIN_TIMEOUT_SECONDS = 30
# The only node of a local Kafka.
NODE_ID = "1"


def configure_topic(bootstrap_servers: str, topic: str, **config: str) -> None:
    """Sets some of a topic's properties, and returns once the broker tells them.

    It obeys them a moment later: a message that is sent at once may be refused by the former ones.
    """
    _configure(bootstrap_servers, ResourceType.TOPIC, topic, config)


def configure_broker(bootstrap_servers: str, **config: str) -> None:
    """The same of a broker's properties, those that can be changed while it runs."""
    _configure(bootstrap_servers, ResourceType.BROKER, NODE_ID, config)


def _configure(
    bootstrap_servers: str, kind: ResourceType, name: str, config: Mapping[str, str]
) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    entries = [
        ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        for key, value in config.items()
    ]
    change = ConfigResource(kind, name, incremental_configs=entries)
    admin.incremental_alter_configs([change], request_timeout=ADMIN_TIMEOUT_SECONDS)[change].result(
        ADMIN_TIMEOUT_SECONDS
    )
    resource = ConfigResource(kind, name)

    def told() -> None:
        answer = admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS)
        found = answer[resource].result(ADMIN_TIMEOUT_SECONDS)
        assert {key: found[key].value for key in config} == dict(config)

    eventually(told)
