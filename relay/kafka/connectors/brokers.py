"""Which brokers of another cluster may be dialled: those whose hosts the operator allows."""

from collections.abc import Sequence

from relay.addresses import leads_into, may_be_dialled, stays_within
from relay.kafka.connectors.look_ups import LookUps
from relay.log.sink import SinkAway
from relay.settings import Settings
from relay.settings.credentials import Bounds
from relay.settings.destinations import AllowedHosts

# As it is written, its host and its port.
Broker = tuple[str, str, int]

# A server of names may answer with thousands, and each is checked.
MAX_ADDRESSES = 64
_look_ups = LookUps()


def allowed(
    brokers: str,
    settings: Settings,
    bounds: Bounds | None = None,
    *,
    made_by: str | None = None,
    clouds_own: Sequence[AllowedHosts] = (),
) -> str:
    """Those of `host:port,host:port` whose names have addresses, all of which may be dialled.

    `bounds`: of the credential that goes there, so that who makes a connector has none sent to
    hosts of their own. `made_by`: the limited API key that made it. `clouds_own` are hosts that a
    credential may go to which names none. Raises SinkAway where one may not be dialled, and where
    none has an address.
    """
    written = [_parts(broker) for broker in brokers.split(",")]
    found: list[str] = []
    for one, addresses in zip(written, _look_up(written, made_by), strict=True):
        if len(addresses) > MAX_ADDRESSES:
            raise SinkAway(f"{one[0]}: that name has more than {MAX_ADDRESSES} addresses")
        for address in addresses:
            _check(one, address, settings, bounds, clouds_own)
        if addresses:
            found.append(one[0])
    if not found:
        raise SinkAway(f"{brokers}: no address was found for that name")
    return ",".join(found)


def _parts(broker: str) -> Broker:
    host, _, port = broker.rpartition(":")
    return broker, host.strip("[]"), int(port)


def _check(
    written: Broker,
    address: str,
    settings: Settings,
    bounds: Bounds | None,
    clouds_own: Sequence[AllowedHosts],
) -> None:
    broker, host, port = written
    if leads_into(address, settings.denied_networks):
        raise SinkAway(f"{broker}: {address} is in RELAY_DENY_NETWORKS")
    own = None if bounds is None else bounds.hosts
    named = (*settings.hosts, *clouds_own) if own is None else own
    opened = [one for one in named if port in one.ports]
    networks = [one.network for one in opened if one.network]
    if any(one.names(host, port) for one in opened):
        return
    if bounds is None:
        if not may_be_dialled(address, networks):
            raise SinkAway(f"{broker}: {address} is not public: RELAY_ALLOW_HOSTS opens hosts")
    # A name leads elsewhere whenever its owner wants it to, so what is written counts.
    elif not stays_within(host, networks):
        raise SinkAway(f"{broker}: {bounds.hosts_hint()}")


def _look_up(brokers: Sequence[Broker], made_by: str | None) -> list[list[str]]:
    """The addresses of each, none where there is no answer in time."""
    return _look_ups.addresses([host for _, host, _ in brokers], made_by)
