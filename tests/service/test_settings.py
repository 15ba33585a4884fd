"""Settings: what is not understood stops the start, by its name."""

import pytest

from service.settings import KafkaServer, SettingsError, from_environment

URL = {"DATABASE_URL": "postgresql://user:password@127.0.0.1/sale"}


def test_defaults() -> None:
    settings, ignored = from_environment({**URL, "PATH": "/bin", "OTHER": "x"})
    assert (settings.host, settings.port, settings.webhook_secret) == ("127.0.0.1", 8080, None)
    assert settings.max_body_bytes == 262_144
    assert ignored == []


def test_what_is_set_counts() -> None:
    settings, _ = from_environment(
        {
            **URL,
            "SERVICE_HOST": "0.0.0.0",
            "SERVICE_HOSTS": "Shop.example.com, *.internal,10.0.0.7,[::1],",
            "SERVICE_FORWARDED_ALLOW_IPS": "10.0.0.7, fd00::/8,",
            "SERVICE_PORT": "9",
            "SERVICE_POOL_SIZE": "3",
            "SERVICE_DATABASE_TIMEOUT_SECONDS": "0.5",
            "SERVICE_MAX_BODY_BYTES": "2048",
            "SERVICE_CATALOGUE": "public",
            "SERVICE_CONSOLE": "on",
            "SERVICE_KAFKA_SERVERS": "a.example.com:9092, kafka-secure://[::1]:9093,",
            "SERVICE_TOPIC_PREFIX": "shop.",
            "WEBHOOK_SECRET": "whsec_plJ3nmyCDGBKInavdOK15jsl",
        }
    )
    assert (settings.host, settings.port, settings.pool_size) == ("0.0.0.0", 9, 3)
    assert (settings.database_timeout_seconds, settings.max_body_bytes) == (0.5, 2048)
    assert settings.hosts == ("shop.example.com", "*.internal", "10.0.0.7", "[::1]")
    assert settings.forwarded_allow_ips == ("10.0.0.7", "fd00::/8")
    assert (settings.catalogue, settings.console) == ("public", True)
    assert settings.topic_prefix == "shop."
    assert settings.kafka_servers == (
        KafkaServer("a.example.com:9092", "kafka"),
        KafkaServer("[::1]:9093", "kafka-secure"),
    )
    assert settings.webhook_secret is not None
    assert len(settings.webhook_secret) == 18


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_PROT", "1"),
        ("SERVICE_PORT", "http"),
        ("SERVICE_PORT", "70000"),
        ("SERVICE_POOL_SIZE", "0"),
        ("SERVICE_POOL_SIZE", "1.5"),
        ("SERVICE_DATABASE_TIMEOUT_SECONDS", "nan"),
        ("SERVICE_DATABASE_TIMEOUT_SECONDS", "0"),
        ("SERVICE_MAX_BODY_BYTES", "1"),
        ("SERVICE_MAX_CONNECTIONS", "1"),
        ("SERVICE_CLIENT_TIMEOUT_SECONDS", "0"),
        ("SERVICE_CLIENT_TIMEOUT_SECONDS", "nan"),
        ("SERVICE_HOSTS", "https://shop.example.com"),
        ("SERVICE_HOSTS", "shop.example.com:8080"),
        ("SERVICE_HOSTS", "shop.*.com"),
        ("SERVICE_HOSTS", "*shop.example.com"),
        ("SERVICE_HOSTS", "a b"),
        ("SERVICE_HOSTS", "::1"),
        ("SERVICE_FORWARDED_ALLOW_IPS", "*"),
        ("SERVICE_FORWARDED_ALLOW_IPS", "proxy.internal"),
        ("SERVICE_FORWARDED_ALLOW_IPS", "10.0.0.7/8"),
        ("SERVICE_FORWARDED_ALLOW_IPS", "10.0.0.7:80"),
        ("SERVICE_CATALOGUE", "off"),
        ("SERVICE_KAFKA_SERVERS", "kafka.example.com"),
        ("SERVICE_KAFKA_SERVERS", "http://kafka.example.com:9092"),
        ("SERVICE_KAFKA_SERVERS", "user@kafka.example.com:9092"),
        ("SERVICE_TOPIC_PREFIX", "a/b"),
        ("WEBHOOK_SECRET", "whsec_short"),
        ("WEBHOOK_SECRET", "not base64!"),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "postgresql://user:password@host/db?nonsense=password"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name) as caught:
        from_environment({**URL, name: value})
    assert "password" not in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_every_name_is_answered_by_default_on_loopback(address: str) -> None:
    settings, _ = from_environment({**URL, "SERVICE_HOST": address})
    assert settings.hosts == ("*",)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "10.0.0.7", "service.internal"])
@pytest.mark.parametrize("hosts", [{}, {"SERVICE_HOSTS": ""}, {"SERVICE_HOSTS": " , "}])
def test_elsewhere_the_names_have_to_be_said(address: str, hosts: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="SERVICE_HOSTS is not set"):
        from_environment({**URL, **hosts, "SERVICE_HOST": address})
    settings, _ = from_environment({**URL, "SERVICE_HOSTS": "*", "SERVICE_HOST": address})
    assert settings.hosts == ("*",)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_s_end_behind_a_value_is_none_of_it(end: str) -> None:
    given = {**URL, "WEBHOOK_SECRET": "whsec_plJ3nmyCDGBKInavdOK15jsl", "SERVICE_PAYMENTS": "on"}
    ended = {name: value + end for name, value in given.items()}
    assert from_environment(ended) == from_environment(given)


def test_what_kubernetes_injects_is_ignored() -> None:
    injected = {
        "SERVICE_SERVICE_HOST": "10.0.0.1",
        "SERVICE_SERVICE_PORT": "8080",
        "SERVICE_SERVICE_PORT_HTTP": "8080",
        "SERVICE_PORT": "tcp://10.0.0.1:8080",
        "SERVICE_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "SERVICE_PORT_8080_TCP_ADDR": "10.0.0.1",
        "SERVICE_PORT_8080_TCP_PORT": "8080",
        "SERVICE_PORT_8080_TCP_PROTO": "tcp",
    }
    settings, ignored = from_environment({**URL, **injected})
    assert settings.port == 8080
    assert sorted(ignored) == sorted(injected)


def test_secrets_are_not_shown() -> None:
    settings, _ = from_environment({**URL, "WEBHOOK_SECRET": "whsec_plJ3nmyCDGBKInavdOK15jsl"})
    assert "password" not in repr(settings)
    assert "webhook_secret" not in repr(settings)
