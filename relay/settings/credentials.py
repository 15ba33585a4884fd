"""Credentials of connectors: named in the database, found here, in the environment or in files."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from relay.settings import destinations
from relay.settings.destinations import AllowedHosts

# `ca`, `certificate` and `key` are PEM texts; `session_token` is of temporary keys of Amazon,
# `connection_string` of Azure, and `service_account` JSON of Google's. `hosts` and `security` say
# where the others may go, and by which security of a connector.
PARTS = (
    "username",
    "password",
    "session_token",
    "connection_string",
    "service_account",
    "ca",
    "certificate",
    "key",
    "hosts",
    "security",
)
_PREFIX = "RELAY_CREDENTIALS_"
# Sets a field of the settings, and is no part of a credential.
DIRECTORY = "RELAY_CREDENTIALS_DIRECTORY"
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
MAX_BYTES = 65_536
# What a connector's security may be where a credential goes; the former by default.
ENCRYPTED = frozenset({"ssl", "sasl_ssl"})
_SECURITIES = ENCRYPTED | {"sasl_plaintext"}
_BOUNDS_HINT = (
    "write hosts as kafka.internal:9092,*.kafka.internal,10.1.0.0/16, "
    "and security as some of ssl,sasl_ssl,sasl_plaintext"
)


class CredentialError(ValueError):
    """A credential, or a part of one, can't be had. It never says what any of it is."""


class Credential(dict[str, str]):
    """The parts that were found; hidden in every log."""

    def __repr__(self) -> str:
        return f"Credential({', '.join(self)})"


def split(relay: Mapping[str, str], faults: list[str]) -> tuple[dict[str, str], Credential]:
    """The other variables, and those of credentials; a sentence in `faults` for each mistake."""
    others, found = {}, Credential()
    for variable, value in relay.items():
        if not variable.startswith(_PREFIX) or variable == DIRECTORY:
            others[variable] = value
            continue
        name, part = _parted(variable.removeprefix(_PREFIX).lower())
        if not part or not _NAME.fullmatch(name.replace("_", "-")):
            parts = ", ".join(f"{_PREFIX}NAME_{one.upper()}" for one in PARTS)
            faults.append(f"{variable} is no part of a credential: unset it, or use one of {parts}")
        elif variable != variable.upper():
            faults.append(f"{variable} is not in capitals: write {variable.upper()}")
        else:
            found[variable] = value
            _check_bound(variable, part, value, faults)
    return others, found


def _parted(text: str) -> tuple[str, str]:
    """The name of a credential, and which part of it this is; empty: none."""
    for part in PARTS:
        if text.endswith(f"_{part}"):
            return text.removesuffix(f"_{part}"), part
    return text, ""


def _check_bound(variable: str, part: str, value: str, faults: list[str]) -> None:
    if value and part in ("hosts", "security"):
        try:
            bounds(variable, Credential({part: value}))
        except CredentialError:
            faults.append(f"{variable}: {_BOUNDS_HINT}")


def variable_of(name: str, part: str) -> str:
    """The variable of the environment that a part of a credential is in."""
    return f"{_PREFIX}{name.replace('-', '_')}_{part}".upper()


def read(name: str, environment: Mapping[str, str], directory: str) -> Credential:
    """The parts of this credential that are there, as they are now; raises CredentialError.

    A variable of the environment counts before a file.
    """
    if not _NAME.fullmatch(name):
        raise CredentialError("that is no name of a credential")
    found = Credential()
    for part in PARTS:
        text = environment.get(variable_of(name, part))
        if text is None and directory:
            text = _read_file(Path(directory) / name / part)
        if text:
            found[part] = text
    return found


class Bounds(msgspec.Struct, frozen=True):
    """Where a credential may go, and by which `security`; `hosts` is None where it names none."""

    name: str
    hosts: tuple[AllowedHosts, ...] | None
    securities: frozenset[str]

    def hosts_hint(self) -> str:
        """What to set so that it may go to another host."""
        variable = variable_of(self.name, "hosts")
        besides = " or RELAY_ALLOW_HOSTS" if self.hosts is None else ""
        return f"credential {self.name} may not go there: name the host in {variable}{besides}"

    def security_hint(self, security: str) -> str:
        """What to set so that it may go by this security."""
        variable = variable_of(self.name, "security")
        clear = "" if security in ENCRYPTED else " (clear text)"
        return (
            f"credential {self.name} may not go by security {security}{clear}: "
            f"change the connector, or set {variable}={security}"
        )


def bounds(name: str, found: Credential) -> Bounds:
    """Of a credential whose parts were found; raises CredentialError."""
    try:
        hosts = destinations.hosts(found["hosts"]) if "hosts" in found else None
        securities = _securities(found["security"]) if "security" in found else ENCRYPTED
    except ValueError:
        raise CredentialError(f"credential {name}: {_BOUNDS_HINT}") from None
    return Bounds(name, hosts, securities)


def _securities(text: str) -> frozenset[str]:
    """`ssl,sasl_plaintext`. Raises ValueError."""
    found = frozenset(word.strip() for word in text.split(","))
    if not found <= _SECURITIES:
        raise ValueError("it is none")
    return found


def missing(name: str, part: str, directory: str) -> CredentialError:
    """Of a part that is needed and not there."""
    place = f"the file {Path(directory) / name / part}" if directory else f"{DIRECTORY} with a file"
    return CredentialError(
        f"credential {name} has no {part} here: set {variable_of(name, part)}, or {place}"
    )


def _read_file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        raise CredentialError(f"{path}: {fault.strerror}") from None
    if len(content) > MAX_BYTES:
        raise CredentialError(f"{path} has more than {MAX_BYTES} bytes")
    try:
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # Without its cause, which quotes the bytes.
        raise CredentialError(f"{path} is not UTF-8") from None
