"""Credentials of connectors: what is found, what is refused, and that none of it is shown."""

from pathlib import Path

import pytest

from relay.settings import Settings, SettingsError
from relay.settings.credentials import Bounds, Credential, CredentialError, bounds, read
from relay.settings.destinations import hosts

URL = {"DATABASE_URL": "postgresql://h/d"}


def test_a_variable_is_a_part_of_the_credential_that_it_names() -> None:
    settings = Settings.from_environment(
        {
            **URL,
            "RELAY_CREDENTIALS_WARE_HOUSE_USERNAME": "outbox",
            "RELAY_CREDENTIALS_WARE_HOUSE_PASSWORD": "a word\n",
            "RELAY_CREDENTIALS_WARE_CA": "pem",
            "RELAY_CREDENTIALS_WARE_HOUSE_SESSION_TOKEN": "a token",
            "RELAY_CREDENTIALS_HUB_1_CONNECTION_STRING": "Endpoint=sb://h/;SharedAccessKey=a=",
            "RELAY_CREDENTIALS_WARE_SERVICE_ACCOUNT": "{}",
        }
    )
    string = settings.credential("hub-1", "connection_string")["connection_string"]
    assert string == "Endpoint=sb://h/;SharedAccessKey=a="
    assert settings.credential("ware-house") == {
        "username": "outbox",
        "password": "a word",
        "session_token": "a token",
    }
    assert settings.credential("ware") == {"ca": "pem", "service_account": "{}"}


@pytest.mark.parametrize(
    "variable",
    [
        "RELAY_CREDENTIALS_A_PASSWORT",
        "RELAY_CREDENTIALS_A",
        "RELAY_CREDENTIALS_USERNAME",
        "RELAY_CREDENTIALS__USERNAME",
        "RELAY_CREDENTIALS_SESSION_TOKEN",
        "RELAY_CREDENTIALS_1A_USERNAME",
        "RELAY_CREDENTIALS_warehouse_USERNAME",
        "RELAY_CREDENTIALS_WAREHOUSE_username",
        "RELAY_CREDENTIALS_A_ACCOUNT",
        "RELAY_CREDENTIALS_SERVICE_ACCOUNT",
    ],
)
def test_what_is_no_part_is_refused_by_its_name_and_without_its_value(variable: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({**URL, variable: "a word to pass"})
    assert variable in str(refused.value)
    assert "a word to pass" not in str(refused.value)


def test_a_file_is_read_anew_and_a_variable_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    for word in ("first", "second"):
        (folder / "password").write_text(f"{word}\n")
        assert read("warehouse", {}, str(tmp_path)) == {"password": word}
    variables = {"RELAY_CREDENTIALS_WAREHOUSE_PASSWORD": "given"}
    assert read("warehouse", variables, str(tmp_path)) == {"password": "given"}


@pytest.mark.parametrize("name", ["..", "a/b", "A", "", "a.b", "-a"])
def test_nothing_but_a_credential_can_be_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("another secret")
    with pytest.raises(CredentialError, match="no name"):
        read(name, {}, str(tmp_path / "credentials"))


def test_what_is_needed_and_missing_is_named_with_its_places(tmp_path: Path) -> None:
    environment = {**URL, "RELAY_CREDENTIALS_DIRECTORY": str(tmp_path)}
    settings = Settings.from_environment(environment)
    with pytest.raises(CredentialError) as lacking:
        settings.credential("warehouse", "username", "password")
    assert "RELAY_CREDENTIALS_WAREHOUSE_USERNAME" in str(lacking.value)
    assert str(tmp_path / "warehouse" / "username") in str(lacking.value)


def test_a_file_that_is_no_text_or_too_large_is_refused_without_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    for content, words in ((b"secret \xff", "not UTF-8"), (b"secret" * 11_000, "more than")):
        (folder / "key").write_bytes(content)
        with pytest.raises(CredentialError, match=words) as refused:
            read("warehouse", {}, str(tmp_path))
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_no_part_is_in_a_repr() -> None:
    settings = Settings.from_environment({**URL, "RELAY_CREDENTIALS_A_PASSWORD": "a word to pass"})
    assert "a word to pass" not in repr(settings) + repr(settings.credentials)
    assert "a word to pass" not in repr(settings.credential("a"))


def bounds_of(**parts: str) -> Bounds:
    return bounds("a", Credential(parts))


def test_the_operator_bounds_a_credential_to_hosts_and_security(tmp_path: Path) -> None:
    folder = tmp_path / "warehouse"
    folder.mkdir()
    (folder / "hosts").write_text("*.kafka.internal:9092, 10.0.0.0/8\n")
    (folder / "security").write_text("sasl_plaintext\n")
    environment = {
        **URL,
        "RELAY_CREDENTIALS_DIRECTORY": str(tmp_path),
        "RELAY_CREDENTIALS_SHOP_HOSTS": "kafka.example.com",
        "RELAY_CREDENTIALS_SHOP_SECURITY": "sasl_ssl,sasl_plaintext",
    }
    settings = Settings.from_environment(environment)
    by_file = bounds("warehouse", settings.credential("warehouse"))
    assert by_file.hosts is not None
    assert [one.names("b.kafka.internal", 9092) for one in by_file.hosts] == [True, False]
    assert by_file.securities == {"sasl_plaintext"}
    by_variable = bounds("shop", settings.credential("shop"))
    assert by_variable.hosts is not None
    assert by_variable.hosts[0].names("kafka.example.com", 1)
    assert by_variable.securities == {"sasl_ssl", "sasl_plaintext"}


def test_a_credential_without_bounds_goes_by_tls_and_to_no_hosts_of_its_own() -> None:
    assert bounds_of() == Bounds("a", None, frozenset({"ssl", "sasl_ssl"}))


@pytest.mark.parametrize(
    ("part", "text"),
    [
        ("hosts", "a word to pass"),
        ("hosts", "kafka:0"),
        ("security", "plaintext"),
        ("security", "SASL_PLAINTEXT"),
        ("security", "a word to pass"),
    ],
)
def test_a_bound_that_means_nothing_stops_the_start_and_is_not_shown(part: str, text: str) -> None:
    with pytest.raises(CredentialError) as refused:
        bounds_of(**{part: text})
    variable = f"RELAY_CREDENTIALS_WARE_HOUSE_{part.upper()}"
    with pytest.raises(SettingsError) as stopped:
        Settings.from_environment({**URL, variable: text})
    assert variable in str(stopped.value)
    for told in (refused, stopped):
        assert "a word to pass" not in str(told.value)


@pytest.mark.parametrize(
    ("allowed", "path", "fits"),
    [
        ("sqs.x.amazonaws.com/123456789012", "/123456789012/q.fifo", True),
        ("sqs.x.amazonaws.com/123456789012/q", "/123456789012/q", True),
        ("sqs.x.amazonaws.com/123456789012/q", "/123456789012/q.fifo", False),
        ("sqs.x.amazonaws.com/123456789012", "/123456789013/q", False),
        ("sqs.x.amazonaws.com", "/123456789012/q", False),
        ("*.amazonaws.com", "/123456789012/q", False),
        ("sqs.x.amazonaws.com:444/123456789012", "/123456789012/q", False),
        ("*.x.amazonaws.com/123456789012", "/123456789012/q", True),
        ("sqs.x.amazonaws.com/projects/shop", "/projects/shop/topics/orders", True),
        ("*.amazonaws.com/projects/shop", "/projects/shop/topics/orders", True),
        ("sqs.x.amazonaws.com/projects/shop/topics/ord", "/projects/shop/topics/orders", False),
        ("sqs.x.amazonaws.com/projects/shop/topics/orders", "/projects/shop/topics/orders", True),
        ("sqs.x.amazonaws.com/projects/shop", "/projects/shop-2/topics/orders", False),
    ],
)
def test_a_queue_or_topic_is_allowed_by_its_path_and_never_by_its_host_alone(
    allowed: str, path: str, fits: bool
) -> None:
    (one,) = hosts(allowed)
    assert one.names_path("sqs.x.amazonaws.com", 443, path) is fits
    assert not (one.path and one.names("sqs.x.amazonaws.com", 443))


@pytest.mark.parametrize(
    "text",
    [
        "*/123456789012",
        "*.*/123456789012",
        "10.0.0/123456789012",
        "/123456789012",
        "[x]/123456789012",
    ],
)
def test_an_entry_for_queues_that_names_no_host_is_refused(text: str) -> None:
    variables = {**URL, "RELAY_ALLOW_HOSTS": text}
    with pytest.raises(SettingsError, match="RELAY_ALLOW_HOSTS"):
        Settings.from_environment(variables)


def test_a_queue_may_be_on_a_host_that_is_a_number() -> None:
    for text, host in (("127.0.0.1:1/123456789012", "127.0.0.1"), ("[::1]:1/123456789012", "::1")):
        (allowed,) = hosts(text)
        assert allowed.names_path(host, 1, "/123456789012/q")
