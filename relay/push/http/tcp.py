"""A TCP connection to one address, as a bare non-blocking socket."""

import asyncio
import errno
import os
import socket

from relay.push.http.fault import Fault, NoConnectionError
from relay.push.http.resolver import AddrInfo

# This machine is out of descriptors, memory or ports of its own; no endpoint is to blame.
LOCAL_ERRNOS = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
)


async def connect(address: AddrInfo) -> socket.socket:
    """Raises Fault `connect`, or NoConnectionError where this machine is why."""
    family, kind, protocol, _, where = address
    try:
        wire = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _fault(error, family) from error
    try:
        wire.setblocking(False)
        # A request goes out in one write, and nothing follows that it could wait for.
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(wire, where)
    except OSError as error:
        wire.close()
        raise _fault(error, family) from error
    except BaseException:
        wire.close()
        raise
    return wire


def _fault(error: OSError, family: int) -> Fault:
    words = os.strerror(error.errno) if error.errno else type(error).__name__
    # Where IPv6 is off, an address of its kind can't be reached: the endpoint's choice, not ours.
    no_ipv6 = family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL
    if error.errno in LOCAL_ERRNOS and not no_ipv6:
        return NoConnectionError(words)
    return Fault("connect", words)
