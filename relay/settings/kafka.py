"""The KAFKA_* variables: librdkafka's own properties, but for those that the relay has to fix."""

import re
from collections.abc import Mapping

_GUARANTEE = "it is part of what the relay guarantees"
_COMPUTED = "the relay computes it from the topics' limits"
# What librdkafka would take and the relay can't: the name of the property and why.
_FIXED: dict[str, str] = {
    "acks": _GUARANTEE,
    "request.required.acks": _GUARANTEE,
    "enable.idempotence": _GUARANTEE,
    "enable.gapless.guarantee": _GUARANTEE,
    "max.in.flight": _GUARANTEE,
    "max.in.flight.requests.per.connection": _GUARANTEE,
    "retries": _GUARANTEE,
    "message.send.max.retries": _GUARANTEE,
    "queuing.strategy": _GUARANTEE,
    "transactional.id": "it belongs to a cursor, not to a process",
    "transaction.timeout.ms": _GUARANTEE,
    "partitioner": "keys have to land where Java clients expect them",
    "message.timeout.ms": "a message that expires alone leaves a gap; set RELAY_BARRIER_SECONDS",
    "delivery.timeout.ms": "a message that expires alone leaves a gap; set RELAY_BARRIER_SECONDS",
    "delivery.report.only.error": "the relay counts on it",
    "debug": "the relay counts on it",
    "message.max.bytes": _COMPUTED,
    "batch.size": _COMPUTED,
    "metadata.broker.list": "KAFKA_BOOTSTRAP_SERVERS says the same",
    "test.mock.num.brokers": "a mock broker would take the messages and lose them",
}


def read(kafka: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """Their properties, by librdkafka's names; adds a sentence to `faults` for each mistake."""
    properties: dict[str, str] = {}
    for name, value in kafka.items():
        key = name.removeprefix("KAFKA_").lower().replace("_", ".")
        if key in _FIXED:
            faults.append(f"{name} can't be set: {_FIXED[key]}. Unset it")
        elif key == "bootstrap.servers" and not value.strip():
            faults.append(f"{name} is empty: write host:port,host:port")
        else:
            properties[key] = value
    # What belongs to TLS and SASL only makes sense together; everything else is tried alone.
    secure = {key: value for key, value in properties.items() if _SECURITY.match(key)}
    alone = [
        {key: value}
        for key, value in properties.items()
        if key not in secure and key != "bootstrap.servers"
    ]
    for tried in [*alone, secure]:
        if tried and (words := _librdkafka_refuses(tried)):
            names = " and ".join(f"KAFKA_{key.upper().replace('.', '_')}" for key in tried)
            faults.append(f"{names}: librdkafka says: {words}. Correct it or unset it")
    return properties


_SECURITY = re.compile(r"(security|sasl|ssl|enable\.ssl|enable\.sasl|https)\.")


_TOKENS = "sasl.oauthbearer.token.endpoint.url"


def _librdkafka_refuses(properties: Mapping[str, str]) -> str | None:
    # Read here: most commands set no property, and need no Kafka.
    import confluent_kafka

    if properties.get(_TOKENS):
        # An address where no server answers: a provider of tokens that hangs would hold the start
        # up for 20 s.
        properties = {**properties, _TOKENS: "http://127.0.0.1:1"}
    # Without bootstrap.servers no connection is opened. With `log.queue`, which is never read, its
    # complaint stays off standard error.
    try:
        confluent_kafka.Producer({**properties, "log.queue": "true"})
    except confluent_kafka.KafkaException as refused:
        return str(refused.args[0].str())
    return None
