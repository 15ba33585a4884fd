"""Which brokers of another cluster may be dialled: by name, suffix, network and port."""

from collections.abc import Sequence

import pytest

from relay.kafka.connectors import brokers, event_hubs, other_cluster
from relay.log.sink import SinkAway
from relay.settings import Settings, SettingsError, credentials


def settings(hosts: str, denied: str = "") -> Settings:
    return Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://h/d",
            "RELAY_ALLOW_HOSTS": hosts,
            "RELAY_DENY_NETWORKS": denied,
        }
    )


def bound(hosts: str = "") -> credentials.Bounds:
    """Of a credential with, or without, hosts of its own."""
    found = credentials.Credential({"hosts": hosts} if hosts else {})
    return credentials.bounds("ware-house", found)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names lead."""
    known = {
        "public.example.com": "8.8.8.8",
        "kafka.internal": "10.0.0.7",
        "a.b.internal": "::1",
        # By a private link of its cloud.
        "shop-events.servicebus.windows.net": "10.0.0.8",
        "shop.servicebus.chinacloudapi.cn": "8.8.8.8",
    }

    def address(host: str) -> list[str]:
        return [known[host]] if host in known else [] if host.startswith("no") else [host]

    def look_up(written: Sequence[brokers.Broker], *_: object) -> list[list[str]]:
        return [address(host) for _, host, _ in written]

    monkeypatch.setattr(brokers, "_look_up", look_up)


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        ("", "public.example.com:9092,8.8.4.4:1,[2001:4860:4860::8888]:9092"),
        ("kafka.internal", "kafka.internal:9092"),
        ("Kafka.Internal:9092", "kafka.internal:9092"),
        ("*.internal", "a.b.internal:1,kafka.internal:2"),
        ("*.b.internal:9092-9099", "a.b.internal:9095"),
        ("10.0.0.0/8:9092,127.0.0.1", "kafka.internal:9092,127.0.0.1:5"),
        ("[::1]:9092", "a.b.internal:9092"),
        ("::/64", "[::1]:9092"),
    ],
)
def test_what_is_public_or_allowed_is_dialled(hosts: str, written: str) -> None:
    assert brokers.allowed(written, settings(hosts)) == written


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        ("", "kafka.internal:9092"),
        ("", "public.example.com:9092,127.0.0.1:9092"),
        ("", "169.254.169.254:80"),
        ("", "[::ffff:10.0.0.7]:9092"),
        ("kafka.internal:9092", "kafka.internal:9093"),
        ("*.internal", "internal:1,10.0.0.7:9092"),
        ("*.kafka.internal", "kafka.internal:9092"),
        ("10.0.0.0/8:9092", "10.0.0.7:9093"),
        ("[::1]:9092", "[::1]:9093"),
        # Teredo: one of the two addresses in it is allowed, and the other is not.
        ("10.0.0.0/8", "[2001:0:a00:1::80ff:fffe]:9092"),
    ],
)
def test_what_is_neither_is_not(hosts: str, written: str) -> None:
    with pytest.raises(SinkAway, match="RELAY_ALLOW_HOSTS opens hosts"):
        brokers.allowed(written, settings(hosts))


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        ("public.example.com", "public.example.com:9092"),
        ("*.example.com:9092", "public.example.com:9092"),
        ("8.8.0.0/16", "8.8.4.4:9092"),
        ("10.0.0.0/8,kafka.internal", "10.0.0.9:9092,kafka.internal:9092"),
    ],
)
def test_a_credential_goes_to_hosts_that_the_operator_names(hosts: str, written: str) -> None:
    assert brokers.allowed(written, settings(hosts), bound()) == written


@pytest.mark.parametrize(
    ("hosts", "written"),
    [
        ("", "public.example.com:9092"),
        ("kafka.internal", "kafka.internal:9092,public.example.com:9092"),
        ("public.example.com:9093", "public.example.com:9092"),
        ("", "kafka.internal:9092"),
        # Its name may lead elsewhere when it is dialled.
        ("10.0.0.0/8", "kafka.internal:9092"),
    ],
)
def test_a_credential_goes_nowhere_else(hosts: str, written: str) -> None:
    """Who makes a connector chooses its brokers, and could else have any password sent to them."""
    with pytest.raises(SinkAway, match="RELAY_CREDENTIALS_WARE_HOUSE_HOSTS or RELAY_ALLOW_HOSTS"):
        brokers.allowed(written, settings(hosts), bound())


@pytest.mark.parametrize("hosts", ["", "10.0.0.0/8", "kafka.internal,public.example.com"])
def test_a_credential_with_hosts_goes_to_these_alone(hosts: str) -> None:
    """Whatever else connectors may dial."""
    own = bound("*.internal:9092,8.8.0.0/16")
    there = "kafka.internal:9092,8.8.4.4:1"
    assert brokers.allowed(there, settings(hosts), own) == there
    for elsewhere in ("public.example.com:9092", "kafka.internal:9093", "10.0.0.7:9092"):
        with pytest.raises(SinkAway, match=r"RELAY_CREDENTIALS_WARE_HOUSE_HOSTS$") as refused:
            brokers.allowed(f"{there},{elsewhere}", settings(hosts), own)
        assert str(refused.value).startswith(f"{elsewhere}: credential ware-house ")


def test_the_hosts_of_a_credential_open_nothing_that_is_denied() -> None:
    with pytest.raises(SinkAway, match="is in RELAY_DENY_NETWORKS"):
        brokers.allowed("10.0.0.7:1", settings("", "10.0.0.0/8"), bound("10.0.0.7"))


@pytest.mark.parametrize("address", ["2001:0:a00:1::f7f7:f7f7", "2001:0:a00:1::3f57:fffe"])
def test_a_tunnel_is_open_where_both_its_ends_are(address: str) -> None:
    """These lead by 10.0.0.1 to 8.8.8.8 and to 192.168.0.1."""
    written, ends = f"[{address}]:9092", "10.0.0.0/8,8.8.8.8,192.168.0.1"
    for own in (None, bound()):
        assert brokers.allowed(written, settings(ends), own) == written
    public = address.endswith("f7f7")
    for own in (None, bound())[public:]:
        with pytest.raises(SinkAway, match="RELAY_ALLOW_HOSTS"):
            brokers.allowed(written, settings("10.0.0.0/8"), own)


def test_what_is_denied_is_not_dialled_by_any_name() -> None:
    with pytest.raises(SinkAway, match="is in RELAY_DENY_NETWORKS"):
        brokers.allowed("kafka.internal:9092", settings("kafka.internal", "10.0.0.0/8"))


def test_a_name_that_leads_nowhere_is_left_out() -> None:
    written = "nowhere:9092,8.8.8.8:9092"
    found = brokers.allowed(written, settings(""))
    assert found == "8.8.8.8:9092"
    with pytest.raises(SinkAway, match="nowhere:9092"):
        brokers.allowed("nowhere:9092", settings(""))


@pytest.mark.parametrize("hosts", ["a b", "kafka:99999", "10.0.0.1/8", "*", "[kafka]:1", "a:b:c"])
def test_what_is_no_host_stops_the_start(hosts: str) -> None:
    with pytest.raises(SettingsError, match="RELAY_ALLOW_HOSTS"):
        settings(hosts)


def test_a_name_with_more_addresses_than_are_checked_is_not_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [f"8.8.{n // 256}.{n % 256}" for n in range(brokers.MAX_ADDRESSES + 1)]
    for addresses in (found[:-1], found):
        monkeypatch.setattr(brokers, "_look_up", lambda *_, one=addresses: [one])
        if addresses is found:
            with pytest.raises(SinkAway, match="more than 64 addresses"):
                brokers.allowed("wide.example.com:9092", settings(""))
        else:
            brokers.allowed("wide.example.com:9092", settings(""))


def to_namespace(namespace: str, **parts: str) -> str:
    """Where a connector to it would go, by a connection string of its own."""
    host = event_hubs.brokers(namespace).rpartition(":")[0]
    string = f"Endpoint=sb://{host}/;SharedAccessKeyName=a;SharedAccessKey=b="
    environment = {
        "DATABASE_URL": "postgresql://h/d",
        "RELAY_CREDENTIALS_HUB_CONNECTION_STRING": string,
        **parts,
    }
    cluster = f'{{"namespace": "{namespace}", "credentials": "hub"}}'
    found = other_cluster.properties(cluster, Settings.from_environment(environment))
    return str(found["bootstrap.servers"])


def test_a_namespace_of_azure_is_dialled_without_a_word() -> None:
    assert to_namespace("shop-events") == "shop-events.servicebus.windows.net:9093"


@pytest.mark.parametrize("namespace", ["shop.servicebus.chinacloudapi.cn", "kafka.internal:9093"])
def test_a_namespace_elsewhere_is_dialled_where_the_operator_names_it(namespace: str) -> None:
    with pytest.raises(SinkAway, match="RELAY_CREDENTIALS_HUB_HOSTS or RELAY_ALLOW_HOSTS"):
        to_namespace(namespace)
    found = to_namespace(namespace, RELAY_ALLOW_HOSTS="*.chinacloudapi.cn:9093,*.internal")
    assert found == event_hubs.brokers(namespace)


@pytest.mark.parametrize(
    ("port", "parts"),
    [
        (":9092", {}),
        ("", {"RELAY_CREDENTIALS_HUB_HOSTS": "stock-events.servicebus.windows.net"}),
        ("", {"RELAY_DENY_NETWORKS": "10.0.0.0/8"}),
    ],
)
def test_a_namespace_of_azure_is_not_dialled_against_what_the_operator_says(
    port: str, parts: dict[str, str]
) -> None:
    with pytest.raises(SinkAway):
        to_namespace(f"shop-events.servicebus.windows.net{port}", **parts)


@pytest.mark.parametrize(
    "string",
    [
        "Endpoint=sb://stock-events.servicebus.windows.net/;SharedAccessKey=b=",
        "Endpoint=sb://shop-events.servicebus.windows.net.example.com/;SharedAccessKey=b=",
        "SharedAccessKey=Endpoint=sb://shop-events.servicebus.windows.net/",
        "shop-events.servicebus.windows.net",
    ],
)
def test_what_is_no_connection_string_of_the_namespace_is_not_sent(string: str) -> None:
    with pytest.raises(SinkAway, match="no connection string of shop-events") as refused:
        to_namespace("shop-events", RELAY_CREDENTIALS_HUB_CONNECTION_STRING=string)
    assert "Endpoint" not in str(refused.value)


def test_a_connection_string_that_is_missing_is_named() -> None:
    with pytest.raises(SinkAway, match="RELAY_CREDENTIALS_HUB_CONNECTION_STRING"):
        to_namespace("shop-events", RELAY_CREDENTIALS_HUB_CONNECTION_STRING="")
