"""TLS by the standard library: who the endpoint is has to be proved, and why it was not is told."""

import os
import ssl
from contextlib import suppress

from relay.push.http.fault import Fault, NoConnectionError

# https://docs.openssl.org/master/man1/openssl-verification-options/#diagnostics
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED, _SELF_SIGNED_ABOVE, _NO_ISSUER, _UNVERIFIED_LEAF = 18, 19, 20, 21
_OTHER_HOST, _OTHER_ADDRESS = 62, 64

_WORDS = {
    _NOT_YET_VALID: "tls_expired",
    _EXPIRED: "tls_expired",
    _SELF_SIGNED: "tls_untrusted",
    _SELF_SIGNED_ABOVE: "tls_untrusted",
    _NO_ISSUER: "tls_untrusted",
    _UNVERIFIED_LEAF: "tls_untrusted",
    _OTHER_HOST: "tls_wrong_host",
    _OTHER_ADDRESS: "tls_wrong_host",
}
_NO_COMMON_VERSION = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION"}
)


# https://docs.openssl.org/master/man1/openssl-ciphers/
CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
# SSL_OP_NO_RX_CERTIFICATE_COMPRESSION, which Python has no name for; of RFC 8879.
NO_COMPRESSED_CERTIFICATES = 1 << 33


def client_context() -> ssl.SSLContext:
    """TLS 1.2 or newer; the chain and the name are checked against the system's authorities.

    SSL_CERT_FILE and SSL_CERT_DIR name others, as OpenSSL documents. Raises NoConnectionError where
    there are none: every endpoint would be refused, and no endpoint is to blame.
    """
    context = ssl.create_default_context()
    if not (context.get_ca_certs() or _reads_later()):
        raise NoConnectionError(
            "no certificate authority is known: install ca-certificates, or name a file of them "
            "in SSL_CERT_FILE"
        )
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The endpoint chooses among what is offered here. Over finite fields a handshake takes half a
    # second of the loop that serves all endpoints, and a group of the endpoint's own making takes
    # as long as it likes; so ciphers are Python's own without those, and the curve is the one that
    # every TLS has: https://www.rfc-editor.org/rfc/rfc8446#section-9.1
    context.set_ciphers(CIPHERS)
    context.set_ecdh_curve("prime256v1")
    # Each would be a handshake, at the endpoint's will; the relay has no certificate to show.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # So that what comes in is what has to be parsed. An OpenSSL that can not unpack ignores it.
    context.options |= NO_COMPRESSED_CERTIFICATES
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reads_later() -> bool:
    """Whether there are authorities that OpenSSL reads as it needs them."""
    directory = ssl.get_default_verify_paths().capath
    with suppress(OSError):
        return directory is not None and bool(os.listdir(directory))
    return False


def fault_of(where: str, error: ssl.SSLError) -> Fault:
    """What a handshake failed at. OpenSSL's own words, none of the endpoint's."""
    if isinstance(error, ssl.SSLCertVerificationError):
        word = _WORDS.get(error.verify_code, "tls")
        return Fault(word, f"{where}: certificate verify failed: {error.verify_message}")
    reason = error.reason or "the handshake failed"
    if reason in _NO_COMMON_VERSION:
        return Fault("tls_version", f"{where} speaks no TLS 1.2 or newer")
    return Fault("tls", f"{where}: {reason.replace('_', ' ').lower()}")
