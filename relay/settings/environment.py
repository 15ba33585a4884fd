"""Which variables of the environment are the relay's, and which only look as if they were."""

import re
from collections.abc import Mapping

from relay.process.utf8 import utf8


def read(environ: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """What of the environment is the relay's, and UTF-8.

    Without a line's end: what a secret or a file is read from mostly ends with one that is not
    meant.
    """
    texts = {}
    for name, value in environ.items():
        if name.startswith(("RELAY_", "KAFKA_", "OUTBOX_")) or name == "DATABASE_URL":
            try:
                texts[name] = utf8(value).rstrip("\r\n")
            except ValueError:
                faults.append(f"{name} is not UTF-8: write it so")
    return texts


# Kubernetes puts these into every container for each service of its namespace whose name begins
# with "relay" or "kafka": https://kubernetes.io/docs/concepts/services-networking/service/
_INJECTED_NAME = re.compile(
    r"(RELAY|KAFKA)(_[A-Z0-9]+)*"
    r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)"
)
_INJECTED_PORT = re.compile(r"(tcp|udp|sctp)://.*")


def _injected(name: str, value: str) -> bool:
    return bool(_INJECTED_NAME.fullmatch(name)) or (
        name.endswith("_PORT") and bool(_INJECTED_PORT.fullmatch(value))
    )


def sort_out(
    environ: Mapping[str, str],
) -> tuple[tuple[str, ...], dict[str, str], dict[str, str]]:
    """What is left aside, the RELAY_* variables and the KAFKA_* variables."""
    ignored: list[str] = []
    relay: dict[str, str] = {}
    kafka: dict[str, str] = {}
    for name, value in sorted(environ.items()):
        if not name.startswith(("RELAY_", "KAFKA_")):
            continue
        if _injected(name, value):
            ignored.append(f"{name} comes from Kubernetes for a service of that name: ignored")
        elif name.startswith("RELAY_"):
            relay[name] = value
        else:
            kafka[name] = value
    return tuple(ignored), relay, kafka
