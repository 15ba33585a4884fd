"""A cluster that a subscription's settings name: what its clients are configured with.

Of librdkafka's properties these alone can be set from the database: others run code, or read files
of this host.
"""

from typing import Any

import msgspec

from relay.kafka.connectors import event_hubs
from relay.kafka.connectors.brokers import allowed
from relay.kafka.producers import DEFAULTS
from relay.kafka.rules import KAFKA, Rules
from relay.log.sink import SinkAway
from relay.settings import Settings
from relay.settings.credentials import Credential, CredentialError, bounds

# A part of a credential, by librdkafka's name for it.
SASL = {"username": "sasl.username", "password": "sasl.password"}
TLS = {"ca": "ssl.ca.pem", "certificate": "ssl.certificate.pem", "key": "ssl.key.pem"}


class OtherCluster(msgspec.Struct, frozen=True):
    """As outbox.other_cluster writes it: by its `brokers`, or a `namespace` of Event Hubs."""

    brokers: str = ""
    namespace: str = ""
    security: str = "plaintext"
    sasl_mechanism: str | None = None
    credentials: str | None = None


def _read(cluster: str) -> OtherCluster:
    """With the brokers of a namespace, and how it is entered."""
    named = msgspec.json.decode(cluster, type=OtherCluster)
    if not named.namespace:
        return named
    return msgspec.structs.replace(
        named,
        brokers=event_hubs.brokers(named.namespace),
        security=event_hubs.SECURITY,
        sasl_mechanism=event_hubs.MECHANISM,
    )


def rules(cluster: str) -> Rules:
    """Of a cluster as outbox.other_cluster writes it; empty: that of the relay's environment."""
    return event_hubs.RULES if cluster and _read(cluster).namespace else KAFKA


def properties(cluster: str, settings: Settings, made_by: str | None = None) -> dict[str, Any]:
    """Of a producer, without its constants.

    `made_by` is the limited API key that made the connector. The credential is read now. Raises
    SinkAway where it lacks a part, may not go there or not by this security, and where a host is
    not allowed.
    """
    named = _read(cluster)
    names: dict[str, str] = {}
    if named.security.startswith("sasl"):
        names |= event_hubs.SASL if named.namespace else SASL
    needed = tuple(names)
    if named.security.endswith("ssl"):
        names |= TLS
    bound, credential = None, Credential()
    if named.credentials is not None:
        try:
            credential = settings.credential(named.credentials, *needed)
            bound = bounds(named.credentials, credential)
        except CredentialError as wrong:
            raise SinkAway(str(wrong)) from None
        if named.security not in bound.securities:
            raise SinkAway(bound.security_hint(named.security))
        if named.namespace:
            event_hubs.demand_own(bound, credential, named.brokers)
    clouds_own = event_hubs.HOSTS if named.namespace else ()
    found = {
        **DEFAULTS,
        **(event_hubs.PROPERTIES if named.namespace else {}),
        "bootstrap.servers": allowed(
            named.brokers, settings, bound, made_by=made_by, clouds_own=clouds_own
        ),
        "security.protocol": named.security,
        **{names[part]: text for part, text in credential.items() if part in names},
    }
    if named.sasl_mechanism is not None:
        found["sasl.mechanism"] = named.sasl_mechanism
    return found
