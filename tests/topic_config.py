"""Changes a topic's configuration, as an operator does."""

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType

from tests.eventually import eventually

ADMIN_TIMEOUT_SECONDS = 30


def configure(bootstrap_servers: str, topic: str, **config: str) -> None:
    """Sets some of a topic's properties, and returns once the broker tells them.

    It obeys them a moment later: a message that is sent at once may be refused by the former ones.
    """
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    change = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin.incremental_alter_configs([change], request_timeout=ADMIN_TIMEOUT_SECONDS)[change].result(
        ADMIN_TIMEOUT_SECONDS
    )
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def told() -> None:
        answer = admin.describe_configs([resource], request_timeout=ADMIN_TIMEOUT_SECONDS)
        found = answer[resource].result(ADMIN_TIMEOUT_SECONDS)
        assert {name: found[name].value for name in config} == config

    eventually(told)
