"""Settings are read once, checked as a whole, and told by name when they don't fit."""

import socket
import time

import pytest

from relay.keyring import MAX_KEYS, Keyring, new_key
from relay.settings import Settings, SettingsError
from tests.relay.operating import OTHER_KEY, SECRET_KEY

BASE = {"DATABASE_URL": "postgresql://relay:hunter2@db.example:6432/shop"}


def test_the_database_alone_makes_settings_with_the_documented_defaults() -> None:
    settings = Settings.from_environment(BASE)
    assert (settings.topic_prefix, settings.event_source) == ("", "/outbox")
    assert (settings.retention_days, settings.port, settings.host) == (7, None, "127.0.0.1")


def test_every_relay_variable_sets_its_field() -> None:
    settings = Settings.from_environment(
        {
            **BASE,
            "KAFKA_BOOTSTRAP_SERVERS": "k1:9092,k2:9092",
            "RELAY_TOPIC_PREFIX": "shop.",
            "RELAY_EVENT_SOURCE": "https://shop.example/orders",
            "RELAY_RETENTION_DAYS": "30",
            "RELAY_AUDIT_DAYS": "90",
            "RELAY_HOST": "::1",
            "RELAY_PORT": "9400",
            "RELAY_NAME": "relay-a",
            "RELAY_BARRIER_SECONDS": "20",
            "RELAY_LOG_LEVEL": "debug",
        }
    )
    assert settings == Settings(
        database_url=BASE["DATABASE_URL"],
        kafka={"bootstrap.servers": "k1:9092,k2:9092"},
        topic_prefix="shop.",
        event_source="https://shop.example/orders",
        retention_days=30,
        audit_days=90,
        host="::1",
        port=9400,
        name="relay-a",
        barrier_seconds=20.0,
        log_level="debug",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_ALLOW_NETWORKS", "10.0.0.1/8"),
        ("RELAY_DENY_NETWORKS", "everything"),
        ("RELAY_PUSH_PORTS", "https"),
        ("RELAY_PUSH_PORTS", "0"),
        ("RELAY_PUSH_PORTS", "9000-8000"),
        ("RELAY_PUSH_PORTS", "65535-65536"),
        ("RELAY_PUSH_HTTPS_ONLY", "perhaps"),
        ("RELAY_PUSH_PROXY", "socks5://relay:hunter3@proxy.example:1080"),
        ("RELAY_PUSH_PROXY", "relay:hunter3@proxy.example:3128"),
        ("RELAY_PUSH_PROXY", "http://relay:hunter3@proxy.example"),
    ],
)
def test_what_says_where_endpoints_may_be_is_told_by_name_and_never_with_a_password(
    name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({**BASE, name: value})
    (fault,) = refused.value.faults
    assert fault.startswith(name)
    assert "hunter3" not in fault


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_s_end_behind_a_value_is_none_of_it(end: str) -> None:
    given = {
        **BASE,
        "KAFKA_SASL_PASSWORD": "secret ",
        "RELAY_PORT": "9400",
        "OUTBOX_SECRET_KEY": SECRET_KEY,
    }
    ended = {name: value + end for name, value in given.items()}
    assert Settings.from_environment(ended) == Settings.from_environment(
        {**given, "RELAY_NAME": Settings.from_environment(ended).name}
    )


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"RELAY_PORT": "x", "RELAY_COLOUR": "red", "KAFKA_ACKS": "0"})
    told = [fault.split()[0].split("=")[0] for fault in refused.value.faults]
    assert sorted(told) == ["DATABASE_URL", "KAFKA_ACKS", "RELAY_COLOUR", "RELAY_PORT"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_PORT", "0"),
        ("RELAY_PORT", "65536"),
        ("RELAY_PORT", ""),
        ("RELAY_RETENTION_DAYS", "0"),
        ("RELAY_RETENTION_DAYS", "1.5"),
        ("RELAY_BARRIER_SECONDS", "nan"),
        ("RELAY_BARRIER_SECONDS", "0.1"),
        ("RELAY_BARRIER_SECONDS", "inf"),
        ("RELAY_BARRIER_SECONDS", "-1"),
        ("RELAY_TOPIC_PREFIX", "x" * 50),
        ("RELAY_TOPIC_PREFIX", "shop/"),
        ("RELAY_TOPIC_PREFIX", "sh\nop"),
        ("RELAY_EVENT_SOURCE", ""),
        ("RELAY_EVENT_SOURCE", "two words"),
        ("RELAY_NAME", "two words"),
        ("RELAY_NAME", "n" * 33),
        ("RELAY_LOG_LEVEL", "loud"),
        ("KAFKA_BOOTSTRAP_SERVERS", " "),
        ("KAFKA_LINGER_MS", "soon"),
        ("KAFKA_SECURITY_PROTOCL", "SSL"),
        ("DATABASE_URL", "postgres//nowhere"),
    ],
)
def test_a_bad_value_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({**BASE, name: value})
    assert [fault.startswith(name) for fault in refused.value.faults] == [True]


def test_an_unknown_setting_is_refused_with_the_ones_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"RELAY_RETENTION is no setting.*RELAY_RETENTION_DAYS"):
        Settings.from_environment({**BASE, "RELAY_RETENTION": "3"})


def test_settings_of_others_are_left_alone() -> None:
    environment = {"SERVICE_PORT": "x", "RELAYED": "1", "PATH": "/bin", "KAFKACAT": "1"}
    assert Settings.from_environment({**BASE, **environment}).ignored == ()


@pytest.mark.parametrize(
    "name",
    [
        "KAFKA_ACKS",
        "KAFKA_REQUEST_REQUIRED_ACKS",
        "KAFKA_ENABLE_IDEMPOTENCE",
        "KAFKA_PARTITIONER",
        "KAFKA_MESSAGE_TIMEOUT_MS",
        "KAFKA_DELIVERY_TIMEOUT_MS",
        "KAFKA_DELIVERY_REPORT_ONLY_ERROR",
        "KAFKA_MAX_IN_FLIGHT",
        "KAFKA_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION",
        "KAFKA_RETRIES",
        "KAFKA_MESSAGE_SEND_MAX_RETRIES",
        "KAFKA_TRANSACTIONAL_ID",
        "KAFKA_MESSAGE_MAX_BYTES",
        "KAFKA_TEST_MOCK_NUM_BROKERS",
    ],
)
def test_what_holds_the_guarantee_cannot_be_set(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} can't be set: .*Unset it"):
        Settings.from_environment({**BASE, name: "1"})


def test_a_librdkafka_property_goes_through() -> None:
    settings = Settings.from_environment({**BASE, "KAFKA_COMPRESSION_TYPE": "zstd"})
    assert settings.kafka == {"compression.type": "zstd"}


def test_security_properties_are_judged_together() -> None:
    sasl = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_USERNAME": "relay",
    }
    settings = Settings.from_environment({**BASE, **sasl, "KAFKA_SASL_PASSWORD": "s3cret"})
    assert settings.kafka["sasl.password"] == "s3cret"
    with pytest.raises(SettingsError, match="KAFKA_SASL_MECHANISM"):
        Settings.from_environment({**BASE, **sasl})


def test_a_token_provider_that_hangs_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as provider:
        url = f"http://127.0.0.1:{provider.getsockname()[1]}/token"
        oidc = {
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_SASL_OAUTHBEARER_METHOD": "oidc",
            "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "relay",
            "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": url,
        }
        began_at = time.monotonic()
        with pytest.raises(SettingsError, match=r"client\.secret"):
            Settings.from_environment({**BASE, **oidc})
        oidc["KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET"] = "s3cret"
        settings = Settings.from_environment({**BASE, **oidc})
        # librdkafka gives it 20.
        assert time.monotonic() - began_at < 10
    assert settings.kafka["sasl.oauthbearer.token.endpoint.url"] == url


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RELAY_SERVICE_HOST", "10.0.0.7"),
        ("RELAY_SERVICE_PORT", "80"),
        ("RELAY_SERVICE_PORT_HTTP_METRICS", "9400"),
        ("RELAY_PORT", "tcp://10.0.0.7:80"),
        ("RELAY_PORT_80_TCP", "tcp://10.0.0.7:80"),
        ("RELAY_PORT_80_TCP_ADDR", "10.0.0.7"),
        ("RELAY_PORT_53_UDP_PROTO", "udp"),
        ("RELAY_PORT_53_SCTP_PORT", "53"),
        ("KAFKA_SERVICE_HOST", "10.0.0.8"),
        ("KAFKA_PORT", "tcp://10.0.0.8:9092"),
        ("KAFKA_HEADLESS_SERVICE_PORT", "9092"),
        ("KAFKA_HEADLESS_PORT", "tcp://10.0.0.8:9092"),
    ],
)
def test_what_kubernetes_injects_is_ignored_with_a_warning(name: str, value: str) -> None:
    settings = Settings.from_environment({**BASE, name: value})
    assert [warning.split()[0] for warning in settings.ignored] == [name]
    assert (settings.port, settings.kafka) == (None, {})


def test_passwords_show_in_no_message() -> None:
    settings = Settings.from_environment({**BASE, "KAFKA_SASL_PASSWORD": "s3cret"})
    assert settings.database == "db.example:6432/shop"
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"DATABASE_URL": "postgres//relay:hunter2@db/shop"})
    shown = f"{settings!r} {settings} {refused.value}"
    assert "hunter2" not in shown
    assert "s3cret" not in shown


def test_a_command_that_needs_kafka_says_which_variable_is_missing() -> None:
    with pytest.raises(SettingsError, match="KAFKA_BOOTSTRAP_SERVERS is not set"):
        Settings.from_environment(BASE).require_kafka()


def test_pods_whose_long_names_differ_at_their_end_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.getpid", lambda: 1)
    names = set()
    for pod in ("x2x4z", "9qk7m"):
        monkeypatch.setattr(
            "socket.gethostname", lambda pod=pod: f"staging-outbox-relay-6c8d9f7b5d-{pod}"
        )
        names.add(Settings.from_environment(BASE).name)
    assert len(names) == 2
    assert {len(name) for name in names} == {32}


def test_the_longest_name_leaves_room_for_a_cursor_in_application_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "a-pod-with-a-long-name-" * 4)
    name = Settings.from_environment(BASE).name
    assert Settings.from_environment({**BASE, "RELAY_NAME": name}).name == name
    # Postgres cuts application_name at 63 bytes.
    assert len(f"outbox-relay {name} cursor {10**9}") <= 63


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("", ()),
        (" \n", ()),
        (SECRET_KEY, (SECRET_KEY,)),
        (f"{OTHER_KEY},{SECRET_KEY}\n", (OTHER_KEY, SECRET_KEY)),
        # What a deployment makes of "${NEW},${OLD}" when there is no old one.
        (f"{SECRET_KEY},", (SECRET_KEY,)),
        # As `openssl rand -base64 32` writes it.
        (f"+/{SECRET_KEY[2:]}", (f"+/{SECRET_KEY[2:]}",)),
    ],
)
def test_secret_keys_are_a_list_the_newest_first(value: str, keys: tuple[str, ...]) -> None:
    settings = Settings.from_environment({**BASE, "OUTBOX_SECRET_KEY": value})
    assert settings.secret_keys == keys
    ring = Keyring(settings.secret_keys)
    assert not keys or ring.open(ring.seal(b"k" * 24)) == b"k" * 24


@pytest.mark.parametrize(
    "value",
    [
        "hunter2",
        SECRET_KEY[:-2],
        SECRET_KEY + "A",
        f"{SECRET_KEY} {OTHER_KEY}",
        f"{SECRET_KEY},hunter2",
        "\u00e4" * 43 + "=",
        ",",
        ",".join([SECRET_KEY] * (MAX_KEYS + 1)),
    ],
)
def test_what_is_no_secret_key_stops_the_start_and_is_not_repeated(value: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({**BASE, "OUTBOX_SECRET_KEY": value})
    (fault,) = refused.value.faults
    assert fault.startswith("OUTBOX_SECRET_KEY: ")
    for word in ("hunter2", SECRET_KEY[:10], "\u00e4"):
        assert word not in fault


@pytest.mark.parametrize(
    "name", ["OUTBOX_SECRET_KEYS", "OUTBOX_SECRETKEY", "OUTBOX_SECRET_KEY_FILE"]
)
def test_a_slip_in_the_secret_keys_name_stops_the_start(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} is no setting"):
        Settings.from_environment({**BASE, name: SECRET_KEY})


def test_a_new_key_is_one_and_no_two_are_the_same() -> None:
    keys = (new_key(), new_key())
    assert keys[0] != keys[1]
    value = ",".join(keys)
    assert Settings.from_environment({**BASE, "OUTBOX_SECRET_KEY": value}).secret_keys == keys
