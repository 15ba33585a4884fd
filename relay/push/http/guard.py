"""Where a request may go: public addresses, and what the operator allows or denies."""

from collections.abc import Sequence

from relay.addresses import Network, leads_into, may_be_dialled
from relay.push.http.fault import Fault, ForbiddenAddressError
from relay.push.http.url import Origin
from relay.settings import Settings

# Where nothing but HTTP is likely to listen: of the well-known ports only its own.
# https://www.iana.org/assignments/service-names-port-numbers
DEFAULT_PORTS = (range(80, 81), range(443, 444), range(1024, 65536))


class Guard:
    """Refuses whatever leads inside: loopback, private networks, cloud metadata.

    And whatever the operator denies: `denied` networks, though they are allowed or public; ports
    that are not among `ports`; and, with `https_only`, requests in plain text.
    """

    def __init__(
        self,
        allowed: Sequence[Network],
        denied: Sequence[Network] = (),
        ports: Sequence[range] = DEFAULT_PORTS,
        *,
        https_only: bool = False,
    ) -> None:
        self._allowed = tuple(allowed)
        self._denied = tuple(denied)
        self._ports = tuple(ports)
        self._https_only = https_only

    @classmethod
    def of(cls, settings: Settings) -> "Guard":
        """The operator's."""
        return cls(
            settings.networks,
            settings.denied_networks,
            settings.ports,
            https_only=settings.push_https_only,
        )

    def admit(self, origin: Origin) -> None:
        """Raises Fault where no request may go there, whatever address its name leads to."""
        if self._https_only and origin.scheme != "https":
            raise Fault("https_only", "http:// is refused here: RELAY_PUSH_HTTPS_ONLY is set")
        if not any(origin.port in ports for ports in self._ports):
            raise Fault("forbidden_port", f"port {origin.port} is not among RELAY_PUSH_PORTS")

    def check(self, address: str) -> None:
        """Raises ForbiddenAddressError where this numeric address may not be dialled."""
        if not self.allows(address):
            denied = "is in RELAY_DENY_NETWORKS"
            private = "is not public: RELAY_ALLOW_NETWORKS opens networks"
            raise ForbiddenAddressError(address, denied if self.denies(address) else private)

    def allows(self, address: str) -> bool:
        """Whether this numeric address may be dialled; False for what is none."""
        return not self.denies(address) and may_be_dialled(address, self._allowed)

    def denies(self, address: str) -> bool:
        """Whether the operator has denied this numeric address."""
        return leads_into(address, self._denied)
