"""TLS and passwords of a broker's listener."""

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


def tls(listener: str, authority: trustme.CA, *, asks: bool = False) -> dict[str, str]:
    """Of a listener that shows a certificate; `asks`: for one of the same authority."""
    own = authority.issue_cert("localhost")
    key = load_pem_private_key(own.private_key_pem.bytes(), None).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    chain = b"".join(one.bytes() for one in own.cert_chain_pems)
    values = {
        "keystore.type": "PEM",
        "keystore.certificate.chain": _property(chain),
        "keystore.key": _property(key),
    }
    if asks:
        values |= {
            "truststore.type": "PEM",
            "truststore.certificates": _property(authority.cert_pem.bytes()),
            "client.auth": "required",
        }
    return {f"listener.name.{listener}.ssl.{name}": value for name, value in values.items()}


def _property(pem: bytes) -> str:
    """A PEM text as a broker's property."""
    return pem.decode().replace("\n", "\\n")
